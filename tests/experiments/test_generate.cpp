#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "experiments/pipeline/finished_run.hpp"
#include "framework/model/generator.hpp"
#include "framework/model/utf8.hpp"
#include "framework/storage/run_reader.hpp"
#include "tests/support/contains.hpp"
#include "tests/support/program.hpp"
#include "tests/support/tiny_model.hpp"

using namespace kronlab;
using kronlab::testing::program_path;
using kronlab::testing::ProgramOutput;
using kronlab::testing::contains;
using kronlab::testing::run_program;

namespace {

namespace fs = std::filesystem;

const std::string generate_command = program_path("bin/kronlab") + " generate ";

/// A tiny model, texts and a store in a folder.
struct Fixture {
  kronlab::testing::TemporaryFolder folder;
  std::string model = folder / "model", store = folder / "store", toml = folder / "e.toml";

  Fixture() {
    kronlab::testing::write_tiny_model(model, kronlab::testing::tiny_llama_config());
    write_file_atomically(folder / "c.txt", kronlab::testing::nonsense(600, 1));
  }

  /// Continues "tare mo" by `of`, a path or a run.
  ProgramOutput generate(const std::string& of, const std::string& options = "") const {
    return run_program(generate_command + of + " --prompt 'tare mo' --store " + store + " " + options);
  }
  nlohmann::json json(const std::string& of, const std::string& options = "") const {
    return nlohmann::json::parse(generate(of, "--json " + options).out);
  }
  void change_config(const std::string& key, Index value) const {
    auto config = nlohmann::json::parse(read_text_file(model + "/config.json"));
    config[key] = value;
    write_file_atomically(model + "/config.json", config.dump());
  }
  /// Takes the token that begins and ends texts from the tokenizer.
  void forget_boundary_token() const {
    auto vocab = nlohmann::json::parse(read_text_file(model + "/vocab.json"));
    vocab.erase("<|endoftext|>");
    write_file_atomically(model + "/vocab.json", vocab.dump());
  }
  /// Does a run of these stages and gives its id.
  std::string run(const std::string& stages) const {
    write_file_atomically(
        toml,
        "[experiment]\nname = \"generate\"\n[model]\npath = \"model\"\n[data]\ndistillation = { path = \"c.txt\", "
        "window = 16, holdout = 2 }\n[[evaluate]]\ndataset = { path = \"c.txt\" }\nprotocol = { window = 32 }\n"
        "max_windows = 2\n" +
            stages);
    const auto output = run_program(program_path("bin/kronlab") + " run " + toml + " --json --store " + store);
    BOOST_TEST_REQUIRE(output.exit_code == 0, output.err);
    return nlohmann::json::parse(output.out).at("runs").at(0).at("id");
  }
};

const std::string svd_stage = "[[stage]]\nlayers = [\"layers.*.mlp.*\"]\ndecompose = { kind = \"svd\", keep = 0.5 }\n";
const std::string distilled_stage =
    "[stage.distill]\nsteps = 6\nbatch_tokens = 64\nmicro_batch = 2\nlosses = { ce = 1.0 }\nlr = 1e-2\n";

/// Exit code 2, a message with these words, nothing on standard output.
void check_refused(const ProgramOutput& output, const std::string& words) {
  BOOST_TEST(output.exit_code == 2, output.err);
  BOOST_TEST(contains(output.err, words), output.err);
  BOOST_TEST(output.out.empty(), output.out);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(generate)

BOOST_FIXTURE_TEST_CASE(the_text_of_a_model_is_on_standard_output_and_words_are_on_standard_error, Fixture) {
  const auto streamed = generate(model, "--tokens 20 --seed 3");
  BOOST_TEST(streamed.exit_code == 0);
  BOOST_TEST(contains(streamed.err, " prompt tokens ("), streamed.err);
  BOOST_TEST(contains(streamed.err, "20 new tokens ("), streamed.err);
  BOOST_TEST(contains(streamed.err, "stopped at the number of tokens asked for"), streamed.err);
  BOOST_TEST(!model::invalid_utf8_offset(streamed.out));  // a random model writes bytes of all kinds
  const auto object = json(model, "--tokens 20 --seed 3");
  BOOST_TEST(object.at("text").get<std::string>() + "\n" == streamed.out);
  BOOST_TEST(object.at("prompt") == "tare mo");
  BOOST_TEST(object.at("prompt_tokens") == 4);  // tare, space, m, o
  BOOST_TEST(object.at("new_tokens") == 20);
  BOOST_TEST(object.at("stopped") == "length");
  BOOST_TEST(object.at("seed") == 3);
  BOOST_TEST(object.at("model") == model);
  BOOST_TEST(object.at("tokens_per_second").get<double>() > 0);
  BOOST_TEST(object.at("prompt_tokens_per_second").get<double>() > 0);
  BOOST_TEST(json(model, "--tokens 20 --seed 4").at("text") != object.at("text"));
}

BOOST_FIXTURE_TEST_CASE(greedy_text_is_that_of_the_library_in_every_precision, Fixture) {
  const experiments::ModelAccess access(model);
  const auto tokenizer = access.tokenizer();
  for (const char* precision : {"fp32", "bf16", "fp64"}) {
    model::GenerationOptions options;
    options.max_tokens = 20;
    options.sampling = {.temperature = 0.0, .top_p = 1.0};
    options.end = tokenizer->eos();
    options.precision = model::precision_from(precision);
    const auto expected = model::generate(access.load(), tokenizer->encode("tare mo"), options).ids;
    model::CharacterStream characters;
    const std::string text = characters.add(tokenizer->decode(expected)) + characters.finish();
    const auto object = json(model, fmt::format("--tokens 20 --temperature 0 --precision {}", precision));
    BOOST_TEST(object.at("text") == text);
    BOOST_TEST(object.at("precision") == precision);
  }
}

BOOST_FIXTURE_TEST_CASE(only_root_writes, Fixture) {
  const auto alone = generate(model, "--tokens 10");
  const auto on_two = run_program("mpirun --oversubscribe --bind-to none -n 2 " + generate_command + model +
                                  " --prompt 'tare mo' --tokens 10");
  BOOST_TEST(on_two.exit_code == 0, on_two.err);
  BOOST_TEST(on_two.out == alone.out);
}

BOOST_FIXTURE_TEST_CASE(the_prompt_may_lie_in_a_file_and_is_taken_as_it_is, Fixture) {
  write_file_atomically(folder / "p.txt", "tare mo");
  const auto from_file =
      run_program(generate_command + model + " --json --tokens 5 --prompt-file " + (folder / "p.txt"));
  BOOST_TEST(nlohmann::json::parse(from_file.out).at("text") == json(model, "--tokens 5").at("text"));
  write_file_atomically(folder / "p.txt", "tare mo\n");
  const auto with_newline =
      run_program(generate_command + model + " --json --tokens 5 --prompt-file " + (folder / "p.txt"));
  BOOST_TEST(nlohmann::json::parse(with_newline.out).at("prompt_tokens") == 5);
}

BOOST_FIXTURE_TEST_CASE(a_text_stops_at_the_end_token_or_where_the_context_ends, Fixture) {
  const auto full = json(model, "--tokens 1000 --temperature 0");
  BOOST_TEST(full.at("stopped") == "context");
  BOOST_TEST(full.at("new_tokens") == 64 - 4 + 1);
  BOOST_TEST(
      contains(generate(model, "--tokens 1000 --temperature 0").err, "at the end of the model's context of 64 tokens"));
  const experiments::ModelAccess access(model);
  model::GenerationOptions options;
  options.max_tokens = 4;
  options.sampling.temperature = 0;
  const auto ids = model::generate(access.load(), access.tokenizer()->encode("tare mo"), options).ids;
  const auto first = std::find(ids.begin(), ids.end(), ids.back()) - ids.begin();
  change_config("eos_token_id", ids.back());
  const auto ended = json(model, "--tokens 1000 --temperature 0");
  BOOST_TEST(ended.at("stopped") == "end");
  BOOST_TEST(ended.at("new_tokens") == first);
  BOOST_TEST(contains(generate(model, "--tokens 1000 --temperature 0").err, "at the token that ends a text"));
}

BOOST_FIXTURE_TEST_CASE(an_empty_prompt_is_the_token_that_begins_a_text_if_there_is_one, Fixture) {
  const auto empty = [&](const std::string& options) {
    return run_program(generate_command + model + " --tokens 5 " + options);
  };
  const auto by_tokenizer = empty("--prompt '' --json");
  BOOST_TEST(by_tokenizer.exit_code == 0, by_tokenizer.err);
  BOOST_TEST(nlohmann::json::parse(by_tokenizer.out).at("prompt_tokens") == 1);
  forget_boundary_token();
  check_refused(empty("--prompt ''"), "the prompt is empty, and '" + model + "' has no token that begins a text");
  change_config("bos_token_id", 65);
  BOOST_TEST(empty("--prompt ''").out == empty("--prompt A").out);
  write_file_atomically(folder / "empty.txt", "");
  BOOST_TEST(empty("--prompt-file " + (folder / "empty.txt")).out == empty("--prompt ''").out);
}

BOOST_FIXTURE_TEST_CASE(bad_arguments_are_refused_and_say_what_was_expected, Fixture) {
  check_refused(generate(model, "--temperature -1"), "temperature is -1, expected a number from 0 on");
  check_refused(generate(model, "--temperature nan"), "temperature is nan");
  check_refused(generate(model, "--top-p 0"), "top_p is 0, expected more than 0 and at most 1");
  check_refused(generate(model, "--top-p 1.5"), "top_p is 1.5");
  check_refused(generate(model, "--tokens 0"), "tokens is 0, expected at least 1");
  check_refused(generate(model, "--precision fp8"), "fp8");
  check_refused(generate(model, "--prompt-file " + (folder / "c.txt")), "--prompt");  // two prompts
  check_refused(run_program(generate_command + model), "--prompt");                   // none
  const auto prompt = [&](const std::string& text) {
    return run_program(generate_command + model + " --prompt '" + text + "'");
  };
  check_refused(prompt(std::string(65, 'x')), "the prompt has 65 tokens, the model's context only 64");
  check_refused(prompt("a\xFFz"), "not valid UTF-8 at byte 1");
  fs::remove(model + "/model.safetensors");
  check_refused(prompt("a"), "weights");
}

BOOST_FIXTURE_TEST_CASE(a_text_that_cannot_be_written_ends_with_1, Fixture) {
  const auto output = run_program("sh -c '" + generate_command + model + " --prompt a --tokens 3 >/dev/full'");
  BOOST_TEST(output.exit_code == 1);
  BOOST_TEST(contains(output.err, "standard output: No space left"), output.err);
}

BOOST_FIXTURE_TEST_CASE(models_and_runs_that_are_not_there_are_named, Fixture) {
  check_refused(generate(folder / "nowhere"), "nowhere' does not exist: expected a Hugging Face folder");
  check_refused(generate("nothing"), "of the store '" + store + "', which does not exist");
  check_refused(generate("nothing.gguf"), "'nothing.gguf' does not exist");
  const std::string id = run(svd_stage);
  check_refused(generate("nothing"), "no run 'nothing' in the store '" + store + "'; it has " + id);
  fs::create_directory(folder / "bare");
  check_refused(generate(folder / "bare"), "config.json");
}

BOOST_FIXTURE_TEST_CASE(a_run_writes_as_its_exported_student_does_by_id_part_or_folder, Fixture) {
  for (const std::string& stages : {svd_stage, svd_stage + distilled_stage}) {
    fs::remove_all(store);
    const std::string id = run(stages);
    const auto object = json(id, "--tokens 20 --temperature 0");
    BOOST_TEST(object.at("model") == id);
    BOOST_TEST(json(id.substr(id.size() - 4), "--tokens 20 --temperature 0").at("text") == object.at("text"));
    BOOST_TEST(json(store + "/runs/" + id, "--tokens 20 --temperature 0").at("text") == object.at("text"));
    const std::string out = folder / ("out-" + id);
    const auto exported = run_program(program_path("bin/kronlab") + " export " + id + " --format factors --out " + out +
                                      " --store " + store);
    BOOST_TEST_REQUIRE(exported.exit_code == 0, exported.err);
    BOOST_TEST(json(out, "--tokens 20 --temperature 0").at("text") == object.at("text"));
    BOOST_TEST(json(model, "--tokens 20 --temperature 0").at("text") != object.at("text"));
  }
}

BOOST_FIXTURE_TEST_CASE(training_changes_the_text, Fixture) {
  const std::string compressed = run(svd_stage), trained = run(svd_stage + distilled_stage);
  BOOST_TEST(compressed != trained);
  BOOST_TEST(json(compressed, "--temperature 0 --tokens 30").at("text") !=
             json(trained, "--temperature 0 --tokens 30").at("text"));
}

BOOST_FIXTURE_TEST_CASE(an_unfinished_run_is_refused_or_its_last_stage_taken_with_a_warning, Fixture) {
  const std::string id = run(svd_stage + "[[stage]]\n" + distilled_stage);
  const fs::path run_folder = fs::path(store) / "runs" / id;
  fs::remove(run_folder / "checkpoints" / "stage-1" / "DONE");
  storage::RunStore::open(store, id).set_state(storage::RunState::interrupted, "test");
  const auto output = generate(id, "--tokens 5");
  BOOST_TEST(output.exit_code == 0, output.err);
  BOOST_TEST(contains(output.err, "is interrupted: taking its last finished stage"), output.err);
  fs::remove(run_folder / "checkpoints" / "stage-0" / "DONE");
  check_refused(generate(id, "--tokens 5"), "has no finished stage");
}

BOOST_AUTO_TEST_SUITE_END()
