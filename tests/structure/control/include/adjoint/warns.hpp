#pragma once

inline int answer(int unused) { return 42; }
