install(TARGETS adjoint)
