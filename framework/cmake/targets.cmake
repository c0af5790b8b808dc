# kronlab_library(NAME SOURCES ... DEPENDS ...): one folder, one static library kronlab::NAME.
# kronlab_test(NAME SOURCES ... DEPENDS ... [RANKS 1 2 3] [LABELS ...]): one Boost.Test program, run once per number of ranks.

set(KRONLAB_WARNINGS -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Werror=return-type
  -Wno-restrict -Wno-stringop-overflow)  # false alarms of g++ 12 in its own headers

add_library(kronlab_flags INTERFACE)
target_compile_options(kronlab_flags INTERFACE -march=${KRONLAB_ARCH} -fno-math-errno -fno-trapping-math -mprefer-vector-width=512 ${KRONLAB_WARNINGS})
target_compile_definitions(kronlab_flags INTERFACE OMPI_SKIP_MPICXX=1 TOML_HEADER_ONLY=0 TOML_SHARED_LIB=1 SPDLOG_COMPILED_LIB SPDLOG_FMT_EXTERNAL)
target_include_directories(kronlab_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_link_libraries(kronlab_flags INTERFACE OpenMP::OpenMP_CXX fmt::fmt)

function(kronlab_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  if(ARG_SOURCES)
    add_library(kronlab_${name} STATIC ${ARG_SOURCES})
    target_link_libraries(kronlab_${name} PUBLIC kronlab_flags ${ARG_DEPENDS})
  else()
    add_library(kronlab_${name} INTERFACE)
    target_link_libraries(kronlab_${name} INTERFACE kronlab_flags ${ARG_DEPENDS})
  endif()
  add_library(kronlab::${name} ALIAS kronlab_${name})
endfunction()

# kronlab_compile_fast(TARGET): for tests and for sources that read options and print, where templates of headers make -O3 a third
# of a build's time. Not for arithmetic that counts.
function(kronlab_compile_fast target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
endfunction()

# The launcher of every test with ranks: more ranks than cores are meant here, and root may run them.
set(KRONLAB_TEST_LAUNCHER ${MPIEXEC_EXECUTABLE} --allow-run-as-root --oversubscribe --bind-to none)

function(kronlab_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPENDS;RANKS;LABELS" ${ARGN})
  add_executable(test_${name} ${ARG_SOURCES})
  target_link_libraries(test_${name} PRIVATE kronlab_test_support ${ARG_DEPENDS})
  kronlab_compile_fast(test_${name})
  set_target_properties(test_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(NOT ARG_RANKS)
    set(ARG_RANKS 1)
  endif()
  foreach(ranks ${ARG_RANKS})
    if(ranks EQUAL 1)
      set(test_name ${name})
      add_test(NAME ${test_name} COMMAND test_${name})
    else()
      set(test_name ${name}.${ranks}ranks)
      add_test(NAME ${test_name} COMMAND ${KRONLAB_TEST_LAUNCHER} -n ${ranks} $<TARGET_FILE:test_${name}>)
    endif()
    set_tests_properties(${test_name} PROPERTIES LABELS "${ARG_LABELS}" PROCESSORS ${ranks} TIMEOUT ${ARG_TIMEOUT}
      SKIP_RETURN_CODE 77 ENVIRONMENT "OMP_NUM_THREADS=1;OPENBLAS_NUM_THREADS=1;OMP_WAIT_POLICY=passive;KRONLAB_OVERSUBSCRIBE=1;KRONLAB_SOURCE_DIR=${PROJECT_SOURCE_DIR};KRONLAB_BINARY_DIR=${CMAKE_BINARY_DIR}")
  endforeach()
endfunction()

# kronlab_program(NAME SOURCES ... DEPENDS ...): a program in bin/, installed.
function(kronlab_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE kronlab_flags ${ARG_DEPENDS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin ENABLE_EXPORTS ON)  # names in stacks
  install(TARGETS ${name} RUNTIME DESTINATION bin)
endfunction()
