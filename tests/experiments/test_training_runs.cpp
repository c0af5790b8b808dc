// Stages that train: the same bits for any number of ranks and however often they are stopped, and what goes wrong.
#include <boost/test/unit_test.hpp>

#include "experiments/pipeline/finished_run.hpp"
#include "experiments/pipeline/stage_checkpoint.hpp"
#include "framework/base/stop_request.hpp"
#include "framework/storage/run_store.hpp"
#include "framework/storage/safetensors.hpp"
#include "tests/experiments/run_fixture.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/small_file_system.hpp"

using namespace kronlab;
using namespace kronlab::experiments;
using kronlab::testing::message_of;

namespace {

namespace fs = std::filesystem;

/// Decompose and distil, twice; every kind of loss; a teacher of each kind.
const std::string two_distilled_stages = R"(
[[stage]]
layers = ["layers.*.mlp.*"]
decompose = { kind = "kronecker", right_rows = 2, right_cols = 4, num_terms = 3 }
permute = { kind = "norm-sort" }
[stage.distill]
steps = 8
batch_tokens = 128
micro_batch = 2
lr = 1e-2
schedule = { kind = "cosine", warmup = 2 }
losses = { ce = 0.5, kl = 1.0, hidden = 0.1, attention = 0.1 }
temperature = 2.0
train = "factors"
validate_every = 4
checkpoint = { every_steps = 3, keep = 9 }
[[stage]]
layers = ["layers.1.self_attn.q_proj"]
decompose = { kind = "svd", truncation = 5 }
[stage.distill]
tokens = 512
batch_tokens = 96
micro_batch = 1
lr = 0.01
lr_unit = "rms"
losses = { ce = 1.0, jsd = 0.5, embedding = 0.1 }
teacher = "previous"
validate_every = 2
result = "best"
optimizer = { weight_decay = 0.1, clip_norm = 0.5, group = [{ parameters = ["layers.*.mlp.*.inner.left"], rate_factor = 0.5, weight_decay = 0.0 }] }
)";

std::string values_of(const fs::path& run_folder, std::size_t stage) { return sha256_of_file(values_path(run_folder, stage).string()); }

/// Root makes a finished run look as if it had been killed after `step` of stage `stage`.
void cut(const Fixture& fixture, const std::string& store, const std::string& id, std::size_t stage, Index step) {
  if (!fixture.world.is_root()) return;
  const fs::path run = fixture.folder / store / "runs" / id;
  storage::RunStore::open((fixture.folder / store).string(), id).set_state(storage::RunState::interrupted, "test");
  fs::remove(run / "arrays.h5");
  for (std::size_t later = stage + 1; later < 9; ++later) fs::remove_all(stage_folder(run, later));
  fs::remove(stage_folder(run, stage) / "DONE");
  fs::remove(values_path(run, stage));
  for (const auto& entry : fs::directory_iterator(stage_folder(run, stage))) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && std::stoll(name.substr(5)) > step) fs::remove_all(entry.path());
  }
}

fs::path checkpoint(const fs::path& run, std::size_t stage, Index step) { return stage_folder(run, stage) / fmt::format("step-{:09}", step); }

void flip_byte(const fs::path& path) {
  std::string bytes = read_text_file(path.string());
  bytes[bytes.size() / 2] ^= 1;
  write_file_atomically(path.string(), bytes);
}

/// One stage that only trains, short.
std::string training(const std::string& more) {
  return "[[stage]]\n[stage.distill]\nsteps = 6\nbatch_tokens = 64\nmicro_batch = 2\nlosses = { ce = 1.0 }\n" + more;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(training_runs)

BOOST_FIXTURE_TEST_CASE(values_and_numbers_are_bit_equal_for_any_number_of_ranks, Fixture) {
  const comm::Communicator alone = world.split(world.rank());
  const auto together = run(world, "together", two_distilled_stages);
  if (!world.is_root()) return;
  const auto by_one = run(alone, "by_one", two_distilled_stages);
  const auto a = run_folder("together", together), b = run_folder("by_one", by_one);
  BOOST_TEST(numbers_of(a).find("distill/jsd") != std::string::npos);
  BOOST_TEST(numbers_of(a) == numbers_of(b));
  auto tokens = storage::RunReader(a).metrics("distill/tokens");
  std::erase_if(tokens, [](const Metric& metric) { return metric.name != "distill/tokens"; });
  BOOST_TEST_REQUIRE(tokens.size() == 2u);
  BOOST_TEST(tokens[0].value == 8 * 128);
  BOOST_TEST(tokens[1].value == 8 * 128 + 6 * 96);  // of both stages
  for (const std::size_t stage : {0u, 1u}) BOOST_TEST(values_of(a, stage) == values_of(b, stage));
}

BOOST_FIXTURE_TEST_CASE(what_a_stage_trained_outlives_one_that_trains_nothing, Fixture) {
  const auto summary = run(world, "store", training("lr = 1e-2\n") + "[[stage]]\nlayers = [\"layers.1.self_attn.q_proj\"]\ndecompose = { kind = \"svd\", truncation = 5 }\n");
  if (!world.is_root()) return;
  const auto finished = FinishedRun::open((folder / "store").string(), summary.id);
  const auto trained = storage::SafetensorsFile(values_path(run_folder("store", summary), 0).string());
  int num_compared = 0;
  for (const auto& [name, tensor] : finished.student.other_tensors()) {
    const auto expected = trained.load(name);
    const auto found = tensor->values<float>();
    BOOST_TEST(std::ranges::equal(found, expected.values<float>()), name);
    ++num_compared;
  }
  BOOST_TEST(num_compared > 0);
}

BOOST_FIXTURE_TEST_CASE(a_training_that_stopped_goes_on_with_another_number_of_ranks_as_if_it_had_not, Fixture) {
  const comm::Communicator alone = world.split(world.rank());
  RunSummary first;
  if (world.is_root()) first = run(alone, "store", two_distilled_stages);
  world.barrier();
  first.id = world.broadcast(first.id);
  const auto at = run_folder("store", first);
  std::string numbers, values;
  if (world.is_root()) numbers = numbers_of(at), values = values_of(at, 1);
  for (const Index step : {0, 3, 6}) {
    cut(*this, "store", first.id, 0, step);
    world.barrier();
    const auto resumed = run(world, "store", two_distilled_stages);
    BOOST_TEST(resumed.id == first.id);
    if (!world.is_root()) continue;
    BOOST_TEST(numbers_of(at) == numbers, "resumed after step " << step);
    BOOST_TEST(values_of(at, 1) == values, "resumed after step " << step);
  }
}

BOOST_FIXTURE_TEST_CASE(how_a_result_is_computed_changes_neither_it_nor_its_cell, Fixture) {
  const auto plain = run(world, "plain", training("lr = 1e-2\n"));
  const auto other = run(world, "other", training("lr = 1e-2\nrecompute = true\nshard_optimizer = false\ncheckpoint = { every_steps = 1 }\n"));
  if (!world.is_root()) return;
  const auto a = run_folder("plain", plain), b = run_folder("other", other);
  BOOST_TEST(numbers_of(a) == numbers_of(b));
  BOOST_TEST(values_of(a, 0) == values_of(b, 0));
  BOOST_TEST(storage::RunReader(a).description().cell == storage::RunReader(b).description().cell);
}

BOOST_FIXTURE_TEST_CASE(a_model_is_trained_from_nothing_and_another_seed_gives_another, Fixture) {
  const std::string stages = training("lr = 1e-2\n") + "[student]\ninit = \"random\"\n";
  const auto first = run(world, "store", stages);
  auto second_spec = spec(stages);
  config::assign(second_spec.config, "experiment.seed", config::Value(Index{4}));
  const auto second = run_experiment(world, second_spec, {(folder / "store").string(), folder.string(), {}, 1});
  if (!world.is_root()) return;
  std::map<Index, double> perplexity;
  for (const auto& m : storage::RunReader(run_folder("store", first)).metrics("eval/perplexity")) perplexity[m.stage] = m.value;
  BOOST_TEST(perplexity.at(-1) > 200.0);  // 260 tokens, all as likely
  BOOST_TEST(perplexity.at(0) < 0.5 * perplexity.at(-1));
  BOOST_TEST(values_of(run_folder("store", first), 0) != values_of(run_folder("store", second), 0));
}

BOOST_FIXTURE_TEST_CASE(a_training_ends_early_where_validation_gets_no_better, Fixture) {
  const auto summary = run(world, "store", training("lr = 0.0\nvalidate_every = 1\npatience = 2\n"));
  if (!world.is_root()) return;
  const auto losses = storage::RunReader(run_folder("store", summary)).metrics("distill/validation_loss");
  BOOST_TEST(losses.size() == 3u);  // the first is the best, two are no better
}

BOOST_FIXTURE_TEST_CASE(a_signal_stops_after_a_checkpoint_and_the_run_is_interrupted, Fixture) {
  StopRequest::ask_to_stop();
  BOOST_CHECK_THROW(run(world, "store", training("lr = 1e-2\n")), Interrupted);
  StopRequest::forget();
  if (world.is_root()) {
    const auto runs = storage::indexed_runs((folder / "store").string());
    BOOST_TEST_REQUIRE(runs.size() == 1u);
    BOOST_TEST((storage::RunReader(runs[0].folder).status().state == storage::RunState::interrupted));
  }
  world.barrier();
  BOOST_TEST(!run(world, "store", training("lr = 1e-2\n")).was_done_before);
}

BOOST_FIXTURE_TEST_CASE(a_damaged_checkpoint_is_named_and_the_one_before_it_is_taken, Fixture) {
  const auto first = run(world, "store", two_distilled_stages);
  const auto at = run_folder("store", first);
  std::string numbers;
  if (world.is_root()) numbers = numbers_of(at);
  cut(*this, "store", first.id, 0, 6);
  if (world.is_root()) {
    flip_byte(checkpoint(at, 0, 6) / "second_moments.safetensors");
    fs::remove(checkpoint(at, 0, 4) / "DONE");  // half written: ignored
  }
  world.barrier();
  run(world, "store", two_distilled_stages);
  if (world.is_root()) BOOST_TEST(numbers_of(at) == numbers);
  cut(*this, "store", first.id, 0, 3);
  if (world.is_root()) flip_byte(checkpoint(at, 0, 3) / "model.safetensors");
  world.barrier();
  const auto message = message_of([&] { run(world, "store", two_distilled_stages); });
  BOOST_TEST(message.find("step-000000003' is damaged: model.safetensors has SHA-256") != std::string::npos, message);
  BOOST_TEST(message.find("remove its folder") != std::string::npos, message);
}

BOOST_FIXTURE_TEST_CASE(a_checkpoint_of_another_configuration_or_a_newer_version_is_refused, Fixture) {
  const std::string stages = training("lr = 1e-2\ncheckpoint = { every_steps = 2 }\n");
  const auto first = run(world, "store", stages);
  const auto at = run_folder("store", first);
  const auto change = [&](const std::string& from, const std::string& to) {
    cut(*this, "store", first.id, 0, 6);
    if (world.is_root()) {
      const auto folder_of = checkpoint(at, 0, 6);
      std::string text = read_text_file((folder_of / "state.toml").string());
      text.replace(text.find(from), from.size(), to);
      write_file_atomically((folder_of / "state.toml").string(), text);
      write_file_atomically((folder_of / "DONE").string(), sha256(text) + "\n");
    }
    world.barrier();
    return message_of([&] { run(world, "store", stages); });
  };
  const auto newer = change("version = 1", "version = 2");
  BOOST_TEST(newer.find("written by a newer version of kronlab (format 2, this one reads 1)") != std::string::npos, newer);
  const auto other = change("version = 2\n", "version = 1\n# ");
  const auto cell = storage::RunReader(at).description().cell;
  const auto foreign = change("identity = \"" + cell.substr(0, 8), "identity = \"deadbeef");
  BOOST_TEST(foreign.find("is of another configuration") != std::string::npos, foreign);
}

BOOST_FIXTURE_TEST_CASE(a_learning_rate_that_diverges_is_told_with_the_step_and_the_last_good_checkpoint, Fixture) {
  const auto message = message_of([&] {
    run(world, "store", training("lr = 1e30\nmax_skipped = 2\noptimizer = { clip_norm = 0.0 }\ncheckpoint = { every_steps = 1 }\nschedule = { kind = \"wsd\", warmup = 1 }\n"));
  });
  BOOST_TEST(message.find("2 steps in a row up to step") != std::string::npos, message);
  BOOST_TEST(message.find("were not finite") != std::string::npos, message);
  BOOST_TEST(message.find("the last good checkpoint is") != std::string::npos, message);
  if (!world.is_root()) return;
  const storage::RunReader reader(storage::indexed_runs((folder / "store").string()).at(0).folder);
  BOOST_TEST((reader.status().state == storage::RunState::failed));
  BOOST_TEST(!reader.metrics("distill/loss").empty());
}

BOOST_FIXTURE_TEST_CASE(texts_that_are_too_short_are_told_with_both_numbers, Fixture) {
  auto too_long = spec(training("lr = 1e-2\n"));
  if (world.is_root()) write_file_atomically((folder / "short.txt").string(), "a few words");
  world.barrier();
  config::assign(too_long.config, "data.distillation.path", config::Value("short.txt"));
  config::assign(too_long.config, "data.distillation.weights", config::Value(config::Value::Array{config::Value(1.0)}));
  const auto message = message_of([&] { run_experiment(world, too_long, {(folder / "s").string(), folder.string(), {}, 1}); });
  BOOST_TEST(message.find("short.txt") != std::string::npos, message);
  BOOST_TEST(message.find("16") != std::string::npos, message);
}

BOOST_FIXTURE_TEST_CASE(a_full_disk_while_a_checkpoint_is_written_is_told_and_the_record_stays_readable, Fixture) {
  if (world.size() > 1) return;
  const kronlab::testing::SmallFileSystem disk(900);
  if (!disk.is_mounted()) return kronlab::testing::report_skipped("a mounted file system of a test");
  const auto message = message_of([&] {
    run_experiment(world, spec(training("lr = 1e-2\ncheckpoint = { every_steps = 1, keep = 9 }\n")), {(disk / "store"), folder.string(), {}, 1});
  });
  BOOST_TEST(message.find("No space left on device") != std::string::npos, message);
  const storage::RunReader reader(storage::indexed_runs(disk / "store").at(0).folder);
  BOOST_TEST(!reader.metrics("eval/perplexity").empty());
  for (const auto& entry : fs::directory_iterator(stage_folder(reader.folder(), 0))) {
    const bool is_whole = !entry.is_directory() || fs::exists(entry.path() / "DONE");
    BOOST_TEST(is_whole, entry.path().string());
  }
}

BOOST_AUTO_TEST_SUITE_END()
