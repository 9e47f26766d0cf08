find_library(OPENBLAS openblas)
