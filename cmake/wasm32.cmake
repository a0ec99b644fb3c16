# Toolchain for the freestanding build of core/: no C library and no system headers, so that the
# first line of core that needs a host does not compile.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR wasm32)
set(CMAKE_C_COMPILER clang)
set(CMAKE_C_COMPILER_TARGET wasm32)
set(CMAKE_AR llvm-ar-14 CACHE FILEPATH "")
set(CMAKE_RANLIB llvm-ranlib-14 CACHE FILEPATH "")
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_C_FLAGS_INIT "-ffreestanding -nostdinc -isystem ${WARREN_CLANG_INCLUDE} -fvisibility=hidden -mbulk-memory")
# What asserts name are paths within this tree, wherever it lies.
string(APPEND CMAKE_C_FLAGS_INIT " -ffile-prefix-map=${CMAKE_CURRENT_LIST_DIR}/../=")
set(CMAKE_C_FLAGS_MINSIZEREL "-Oz -DNDEBUG -ffunction-sections -fdata-sections" CACHE STRING "")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-fuse-ld=lld")
