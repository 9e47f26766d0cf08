#!/bin/sh
# A peer that computes something else than the others: the hand-written loops, with a sign lost. For the tests.
"$HAND" "$@" | sed '/numbers/s/,-/,/g'
