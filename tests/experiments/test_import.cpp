// `kronlab import`: what it writes is taken by `kronlab check`.
#include <boost/test/unit_test.hpp>

#include "experiments/pipeline/tq_configuration.hpp"
#include "tests/support/contains.hpp"
#include "tests/support/program.hpp"
#include "tests/support/tiny_model.hpp"

using namespace kronlab;
using namespace kronlab::experiments;
using kronlab::testing::contains;
using kronlab::testing::program_path;
using kronlab::testing::run_program;

namespace {

/// An MLP matrix of 32 inputs, in 16 groups.
std::string mlp(Index inputs_of_a_group) {
  return fmt::format(
      "layers:\n  transformer.h.1.mlp.c_fc:\n    r: 4\n    m1: 16\n    n1: 32\n    m2: {}\n    n2: 4\n    q_num: 1\n   "
      " use_p: True\n    use_q: True\n",
      inputs_of_a_group);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(imports)

BOOST_AUTO_TEST_CASE(the_program_writes_what_check_takes_and_says_where_a_file_is_wrong) {
  const kronlab::testing::TemporaryFolder folder;
  kronlab::testing::write_tiny_model(folder.path() / "model", kronlab::testing::tiny_gpt2_config());
  const std::string file = folder / "tq.yaml", program = program_path("bin/kronlab");
  write_file_atomically(file, mlp(2));
  const auto printed = run_program(fmt::format("{} import tq {} --model model", program, file));
  BOOST_TEST(printed.exit_code == 0, printed.err);
  BOOST_TEST(printed.out == experiment_of_tq(mlp(2), file, "model"));
  const auto written =
      run_program(fmt::format("{} import tq {} --model model --out {}", program, file, folder / "tq.toml"));
  BOOST_TEST(written.exit_code == 0, written.err);
  BOOST_TEST(written.out.empty());
  const auto check = run_program(fmt::format("{} check {} --store {}", program, folder / "tq.toml", folder / "store"));
  BOOST_TEST_REQUIRE(check.exit_code == 0, check.err);
  BOOST_TEST(contains(check.out, "step 1: h.*.mlp.c_fc: permuted(kronecker)"), check.out);
  write_file_atomically(file, mlp(3));  // 16 x 3 inputs, the model has 32
  BOOST_TEST_REQUIRE(
      run_program(fmt::format("{} import tq {} --model model --out {}", program, file, folder / "tq.toml")).exit_code ==
      0);
  const auto misfit = run_program(fmt::format("{} check {} --store {}", program, folder / "tq.toml", folder / "store"));
  BOOST_TEST(misfit.exit_code == 2);
  BOOST_TEST(contains(misfit.err, "kronecker: columns of `h.1.mlp.c_fc` (32) are not left_cols (16) x right_cols (3)"),
             misfit.err);
  write_file_atomically(file, "layers:\n  transformer.wte: {d: 2\n");
  const auto cut = run_program(fmt::format("{} import tq {}", program, file));
  BOOST_TEST(cut.exit_code == 2);
  BOOST_TEST(cut.out.empty());
  BOOST_TEST(contains(cut.err, file + ":"), cut.err);
  BOOST_TEST(run_program(program + " import gptq " + file).exit_code == 2);
  BOOST_TEST(run_program(program + " import tq " + folder / "none.yaml").exit_code == 1);
}

BOOST_AUTO_TEST_SUITE_END()
