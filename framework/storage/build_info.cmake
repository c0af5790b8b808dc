# cmake -DSOURCE_DIR=... -DOUTPUT=... -DCOMPILER=... -DBUILD_TYPE=... -DFLAGS=... -P build_info.cmake
# Writes OUTPUT, a source file, and touches it only when its content changes, so that most builds compile nothing for it.
find_package(Git QUIET)

set(commit unknown)
set(dirty unknown)
set(diff_sha256 "")
if(GIT_FOUND)
  execute_process(COMMAND ${GIT_EXECUTABLE} -C ${SOURCE_DIR} rev-parse --show-cdup HEAD
    OUTPUT_VARIABLE answer RESULT_VARIABLE failed ERROR_QUIET)
  # The first line is the way to the top of the checkout: empty if these sources are the top, not a folder in another's.
  if(NOT failed AND answer MATCHES "^\n([0-9a-f]+)\n$")
    set(commit ${CMAKE_MATCH_1})
    execute_process(COMMAND ${GIT_EXECUTABLE} -C ${SOURCE_DIR} --no-optional-locks diff HEAD --no-ext-diff --binary
      OUTPUT_VARIABLE diff RESULT_VARIABLE failed ERROR_QUIET)
    if(NOT failed)
      set(dirty no)
      if(NOT diff STREQUAL "")
        set(dirty yes)
        string(SHA256 diff_sha256 "${diff}")
      endif()
    endif()
  endif()
endif()

string(STRIP "${FLAGS}" FLAGS)
set(content "#include \"framework/storage/build_info.hpp\"\n\nnamespace kronlab::storage::build_info {\n\n")
foreach(pair commit:commit dirty:dirty diff_sha256:diff_sha256 compiler:COMPILER build_type:BUILD_TYPE flags:FLAGS)
  string(REGEX MATCH "^([a-z0-9_]+):(.+)$" pair ${pair})
  string(APPEND content "const char* const ${CMAKE_MATCH_1} = R\"text(${${CMAKE_MATCH_2}})text\";\n")
endforeach()
string(APPEND content "\n}  // namespace kronlab::storage::build_info\n")

set(previous "")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} previous)
endif()
if(NOT previous STREQUAL content)
  file(WRITE ${OUTPUT} "${content}")
endif()
