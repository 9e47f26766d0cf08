# `cmake --install`, and the package that find_package(adjoint) finds. It exports adjoint::adjoint alone.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/adjoint)
install(TARGETS adjoint EXPORT adjoint FILE_SET HEADERS)
install(EXPORT adjoint NAMESPACE adjoint:: FILE adjointTargets.cmake DESTINATION ${package_dir})

configure_package_config_file(cmake/adjointConfig.cmake.in ${PROJECT_BINARY_DIR}/package/adjointConfig.cmake
                              INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
# Below 1.0 a new minor version may break the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/adjointConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/package/adjointConfig.cmake
              ${PROJECT_BINARY_DIR}/package/adjointConfigVersion.cmake cmake/AdjointOpenBLAS.cmake
        DESTINATION ${package_dir})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
