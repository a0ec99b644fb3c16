# warren_module(NAME SOURCES ... [DEPENDS ...]): one library per folder.
#
# Headers are included as "module/header.h". Each module sees the headers of the modules it names in
# DEPENDS (and of theirs) and no others: every module has an include root of its own that holds one
# link to its folder. An include that architecture.md forbids does not compile.
function(warren_module name)
  cmake_parse_arguments(M "" "" "SOURCES;DEPENDS" ${ARGN})
  set(root ${CMAKE_BINARY_DIR}/include/${name})
  file(MAKE_DIRECTORY ${root})
  file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${root}/${name} SYMBOLIC)
  add_library(${name} STATIC ${M_SOURCES})
  # For #include "..." only: our linux/netlink.h must not stand in for the kernel's <linux/netlink.h>.
  target_compile_options(${name} PUBLIC "SHELL:-iquote ${root}")
  target_link_libraries(${name} PUBLIC ${M_DEPENDS} PRIVATE warren_flags)
endfunction()
