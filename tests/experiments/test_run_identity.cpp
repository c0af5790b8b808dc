// A walk over every key of an experiment's file: what can change a result changes the cell, and nothing else does.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <map>
#include <set>

#include "experiments/pipeline/run_identity.hpp"
#include "framework/config/read_toml_file.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::experiments;
using config::Value;

namespace {

const std::string head = R"(
[experiment]
name = "e"
question = "q"
paper = "p"
seed = 1
precision = "fp32"
[model]
path = "m"
head = "as-is"
)";
const std::string calibration = R"(
[data.calibration]
path = ["c.txt", "d.txt"]
tokens = 2048
window = 64
sequential = true
match_outputs = true
match_damping = 0.01
memory_mb = 512
gradient_tokens = 1024
)";
const std::string text = R"(
[data.distillation]
path = ["t.txt", "u.txt"]
weights = [1.0, 2.0]
window = 64
holdout = 4
)";
const std::string evaluations = R"(
[[evaluate]]
dataset = { name = "one", path = "e.txt" }
protocol = { kind = "token-perplexity", window = 64, stride = 32, join = "none", average = "tokens", tail = "keep" }
max_windows = 4
expect_dense = 30.0
expect_tolerance = 0.5
[[evaluate]]
dataset = { name = "two", path = "f.txt" }
divergence = true
[[evaluate]]
dataset = { path = "g.jsonl" }
protocol = { kind = "last-word", window = 64 }
)";
const std::string shared = "weighting = \"two-sided\", damping = 0.1, gradient_damping = 0.2, absorb = false, max_evaluations = 1000, time_limit_s = 5.0";
const std::string anneal = "num_temperatures = 7, num_sweeps = 3, num_starts = 2, first_acceptance = 0.4, last_acceptance = 0.01";
const std::string svd = "decompose = { kind = \"svd\", keep = 0.5 }\n";

std::string search(const std::string& options) { return "permute = { " + options + ", " + shared + " }\n"; }
std::string part(const std::string& keys) { return "[[stage.part]]\nlayers = [\"a\", \"b\"]\n" + keys; }
std::string trained(const std::string& length, const std::string& more) {
  return "[[stage]]\nname = \"s\"\n[stage.distill]\n" + length + "\nlr = 1e-3\nbatch_tokens = 512\nmicro_batch = 2\n" + more;
}

/// Experiments in which together every key of every table stands.
std::vector<std::string> documents() {
  return {
      head + calibration + text + evaluations + "[student]\nblocks = [0, 1]\ninit = \"model\"\n[parallel]\ndistribute_above = 100\n" +
          "[[stage]]\nname = \"s\"\nlayers = [\"a\"]\n" +
          "decompose = { kind = \"kronecker\", left_rows = 2, left_cols = 3, num_terms = 4, weighting = \"two-sided\", refit = 5, damping = 0.1, "
          "gradient_damping = 0.2, gradient_moments = \"full\", scale = \"none\" }\n" +
          search("kind = \"anneal\", " + anneal),
      head + "[[stage]]\nlayers = [\"a\"]\n" + svd + "sensitivity = { path = \"s.txt\", tokens = 1024, window = 64, by = \"layer\" }\n",
      // a plan, and what it is made within
      head + "[[stage]]\nlayers = [\"a\"]\npredicted_kl = 0.25\n" + svd + "[budget]\nbytes = 0.5\ntime = 0.8\nkeep_dense = [\"a\"]\nat_least = 0.1\ngap = 1e-3\n",
      head + "[budget]\nmegabytes = 40.0\n",
      head + calibration + "[student]\nconfig = \"shape.json\"\n[[stage]]\n" + part("decompose = { kind = \"svd\", truncation = 3 }\n" + search("kind = \"portfolio\", " + anneal)) +
          part("decompose = { kind = \"whitened-svd\", keep = 0.5, damping = 0.1, weighting = \"two-sided\", gradient_damping = 0.2, gradient_moments = \"full\" }\n") +
          part("decompose = { kind = \"whitened-svd\", truncation = 4 }\n") +
          part("decompose = { kind = \"sum\", rounds = 2, parts = [{ kind = \"svd\", keep = 0.3 }, { kind = \"kronecker\", right_rows = 2, right_cols = 4, "
               "permute = { kind = \"matching\", gap = 0.01, " + shared + " } }] }\n") +
          part(svd + search("kind = \"matching\", gap = 0.01")) + part(svd + search("kind = \"alternating\", num_rounds = 3, step = \"annealing\", proposals_per_element = 4")) +
          part(svd + search("kind = \"alternating\", step = \"random\", num_samples = 4")) + part(svd + search("kind = \"coordinate-assignment\"")) +
          part(svd + search("kind = \"identity\"")) + part(svd + search("kind = \"norm-sort\"")) + part(svd + search("kind = \"random\", num_samples = 4")) +
          part(svd + search("kind = \"swap-descent\"")),
      head + text + "[student]\ninit = \"random\"\n" +
          trained("steps = 10", R"(losses = { ce = 0.5, kl = 1.0, reverse-kl = 0.1, jsd = 0.2, hidden = 0.3, embedding = 0.4, attention = 0.6 }
temperature = 2.0
blocks = [[1, 2], [2, 4]]
lr_unit = "absolute"
schedule = { kind = "wsd", warmup = 2, final_ratio = 0.1, decay_fraction = 0.3, decay = "linear" }
train = ["a.*"]
teacher = "dense"
validate_every = 3
patience = 2
result = "best"
max_skipped = 4
recompute = false
shard_optimizer = true
checkpoint = { every_steps = 5, every_minutes = 2.0, keep = 2 }
[stage.distill.optimizer]
kind = "adamw"
beta1 = 0.8
beta2 = 0.9
epsilon = 1e-6
weight_decay = 0.1
clip_norm = 2.0
group = [{ parameters = ["*.bias"], rate_factor = 2.0, weight_decay = 0.05 }, { parameters = ["*"] }]
)"),
      head + text + trained("tokens = 5000", "losses = { ce = 1.0 }\nblocks = \"uniform\"\nschedule = { kind = \"linear\", warmup_fraction = 0.1 }\n"),
      head + text + trained("epochs = 1.5", "losses = { ce = 1.0 }\nschedule = { kind = \"cosine\" }\nvalidate_every = 3\n"),
      // where another choice may be made, since nothing else that stands here needs this one
      head + "[data]\ncalibration = { path = \"c.txt\", sequential = false }\n[[stage]]\n" +
          part("decompose = { kind = \"kronecker\", left_rows = 2, left_cols = 3, weighting = \"two-sided\", refit = 1, gradient_moments = \"diagonal\" }\n"),
      head + calibration + "[[stage]]\n" + part("decompose = { kind = \"kronecker\", left_rows = 2, left_cols = 3, weighting = \"none\", start = \"pruning\" }\n"
                                               "permute = { kind = \"alternating\", step = \"annealing\" }\n") +
          part("decompose = { kind = \"sum\", parts = [{ kind = \"kronecker\", left_rows = 2, left_cols = 3, num_terms = 2, refit = 1, weighting = \"two-sided\", damping = 0.1, "
               "gradient_damping = 0.3, gradient_moments = \"diagonal\", scale = \"norm\" }, { kind = \"whitened-svd\", keep = 0.2, weighting = \"two-sided\" }] }\n") +
          part("decompose = { kind = \"whitened-svd\", keep = 0.5, weighting = \"inputs\" }\n"),
      head + calibration + "[[stage]]\n" +
          part("decompose = { kind = \"mpo\", row_factors = [2, 3], col_factors = [3, 2], bond_dimension = 2, truncation_error = 0.1, "
               "weighting = \"two-sided\", whitening = \"separable\", damping = 0.1, gradient_damping = 0.3 }\n") +
          part("decompose = { kind = \"monarch\", left_blocks = 2, right_blocks = 3, num_terms = 2, weighting = \"inputs\", damping = 0.1 }\n") +
          part("decompose = { kind = \"monarch\", keep = 0.5 }\n") +
          part("decompose = { kind = \"interpolative\", truncation = 2, skeleton = \"columns\", weighting = \"inputs\", damping = 0.1 }\n") +
          part("decompose = { kind = \"interpolative\", keep = 0.5 }\n") +
          part("decompose = { kind = \"mpo\", num_sites = 2, keep = 0.5, weighting = \"inputs\" }\n") +
          part("decompose = { kind = \"tensor-train-embedding\", form = \"table\", row_factors = [2, 3], col_factors = [3, 2], keep = 0.5, truncation_error = 0.1 }\n") +
          part("decompose = { kind = \"tensor-train-embedding\", form = \"token\", num_sites = 2, bond_dimension = 2 }\n"),
      head + calibration + "[[stage]]\n" + part("decompose = { kind = \"magnitude\", sparsity = 0.5, mask = \"magnitude\", scope = \"row\" }\n") +
          part("decompose = { kind = \"wanda\", sparsity = 0.5, mask = \"wanda\", scope = \"row\" }\n") +
          part("decompose = { kind = \"magnitude\", n = 2, m = 4 }\n") + part("decompose = { kind = \"wanda\", n = 2, m = 4 }\n") +
          part("decompose = { kind = \"sparsegpt\", sparsity = 0.5, mask = \"sweep\", block = 64, damping = 0.1, bits = 4, group = 32, symmetric = true }\n") +
          part("decompose = { kind = \"sparsegpt\", n = 2, m = 4 }\n") + part("decompose = { kind = \"rtn\", bits = 4, group = 32, symmetric = true }\n") +
          part("decompose = { kind = \"gptq\", bits = 4, group = 32, symmetric = true, damping = 0.1, activation_order = true }\n") +
          part("decompose = { kind = \"quantised\", bits = 4, group = 32, symmetric = true, inner = { kind = \"svd\", keep = 0.5 } }\n"),
  };
}

/// Names, places, and how a result is computed without changing it.
const std::set<std::string> words{"experiment.name", "experiment.question", "experiment.paper", "model.path", "student.config", "data.calibration.path",
                                  "data.calibration.memory_mb", "data.distillation.path", "evaluate.dataset.name", "evaluate.dataset.path",
                                  "evaluate.expect_dense", "evaluate.expect_tolerance", "stage.name", "stage.sensitivity.path", "stage.distill.recompute",
                                  "stage.distill.shard_optimizer", "stage.distill.checkpoint.every_steps", "stage.distill.checkpoint.every_minutes",
                                  "stage.distill.checkpoint.keep", "stage.predicted_kl", "budget.bytes", "budget.megabytes", "budget.time", "budget.keep_dense",
                                  "budget.at_least", "budget.gap"};

ExperimentSpec spec_of(const Value& file) { return ExperimentSpec::read(config::expand_sweep(file).at(0).config, "/base"); }
InputHashes hashes_of(const ExperimentSpec& spec) {
  return input_hashes(spec, "hash of the model", [](const std::string&) { return "hash of a file"; });
}
std::string cell(const Value& file) {
  const auto spec = spec_of(file);
  return cell_of(spec, hashes_of(spec));
}
Value parsed(const std::string& toml) { return config::parse_toml(toml, "f.toml"); }

Value with(const Value& file, const std::string& path, const Value& value) {
  Value changed = file;
  config::assign(changed, path, value);
  return changed;
}

/// The cell with another value; empty where that is refused.
std::string cell_with(const Value& file, const std::string& path, const Value& value) {
  try {
    return cell(with(file, path, value));
  } catch (const ConfigError&) {
    return {};
  }
}

std::string last_part(const std::string& path) { return path.substr(path.rfind('.') + 1); }
std::string parent(const std::string& path) { return path.find('.') == std::string::npos ? "" : path.substr(0, path.rfind('.')); }
bool is_number(const std::string& part) { return !part.empty() && part.find_first_not_of("0123456789") == std::string::npos; }

/// "decomposer(svd).keep" of "stage.0.part.3.decompose.parts.0.keep": no positions, but kinds; decomposers and searches are
/// read alike wherever they stand.
std::string place_of(const Value& file, const std::string& path) {
  std::string place, at;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t dot = std::min(path.find('.', begin), path.size());
    const std::string name = path.substr(begin, dot - begin);
    at += (at.empty() ? "" : ".") + name;
    const Value* kind = dot < path.size() ? config::value_at(file, at + ".kind") : nullptr;
    if (!is_number(name)) place += (place.empty() ? "" : ".") + name;
    if (kind && (name == "decompose" || name == "inner" || name == "permute" || (is_number(name) && place.ends_with(".parts")))) place += "(" + *kind->as<std::string>() + ")";
    begin = dot + 1;
  }
  const auto part = place.rfind("parts("), inner = place.rfind("inner(");
  const auto decomposer = std::max({place.rfind("decompose(") + 1, part + 1, inner + 1}), search = place.rfind("permute(") + 1;
  if (search > decomposer) return "search" + place.substr(search - 1 + 7);
  if (decomposer > 0) return "decomposer" + place.substr(place.find('(', decomposer - 1));
  return place;
}
std::string without_kinds(std::string place) {
  for (auto open = place.find('('); open != std::string::npos; open = place.find('(')) place.erase(open, place.find(')') - open + 1);
  return place;
}

/// The names behind "known: " in the error that `file` is; none if it is another or no error.
std::vector<std::string> known_in_error(const Value& file, const std::string& complaint) {
  const std::string message = kronlab::testing::message_of([&] { spec_of(file); });
  const auto at = message.find("known: ");
  if (message.find(complaint) == std::string::npos || at == std::string::npos) return {};
  std::vector<std::string> names;
  for (std::size_t begin = at + 7; begin < message.size();) {
    const std::size_t comma = std::min(message.find(", ", begin), message.size());
    names.push_back(message.substr(begin, comma - begin));
    begin = comma + 2;
  }
  return names;
}

/// Values that may stand in place of one.
std::vector<Value> others(const Value& value) {
  if (const auto* flag = value.as<bool>()) return {Value(!*flag)};
  if (const auto* integer = value.as<Index>()) {
    if (*integer == 0) return {Value(Index{1})};
    return {Value(*integer + 1), Value(*integer * 2), Value(*integer / 2)};
  }
  if (const auto* number = value.as<double>()) return {Value(*number * 0.75), Value(*number * 1.25)};
  if (const auto* one = value.as<std::string>()) return {Value(*one + "x")};
  const auto* list = value.as<Value::Array>();
  if (!list) return {};
  std::vector<Value> results;
  for (std::size_t i = 0; i < list->size(); ++i) {
    for (const Value& other : others((*list)[i])) {
      auto changed = *list;
      changed[i] = other;
      results.emplace_back(std::move(changed));
    }
  }
  return results;
}

/// Places whose value was changed with success, and the values of every choice that were seen.
struct Walked {
  std::set<std::string> places;
  std::map<std::string, std::set<std::string>> choices;
};

void expect_cell(const Value& file, const std::string& base, const std::string& path, const Value& other, Walked& walked) {
  const std::string changed = cell_with(file, path, other);
  if (changed.empty()) return;
  const std::string place = place_of(file, path);
  const bool is_word = words.contains(without_kinds(place));
  BOOST_TEST((changed == base) == is_word, path << " = " << config::to_text(other));
  walked.places.insert(place);
}

/// Changes what stands at a path that is no table.
void walk_value(const Value& file, const std::string& base, const std::string& path, const Value& value, Walked& walked) {
  const auto* one = value.as<std::string>();
  const std::string unknown = "zzzz";
  const auto known = one ? known_in_error(with(file, path, Value(unknown)), "unknown 'zzzz'") : std::vector<std::string>();
  if (known.empty()) {
    for (const Value& other : others(value)) expect_cell(file, base, path, other, walked);
    return;
  }
  const std::string place = without_kinds(place_of(file, path));
  if (last_part(path) == "kind") walked.places.insert(place_of(file, path));
  walked.choices[place].insert(*one);
  for (const auto& name : known) {
    walked.choices[place];
    if (name == *one || cell_with(file, path, Value(name)).empty()) continue;
    walked.choices[place].insert(name);
    expect_cell(file, base, path, Value(name), walked);
  }
}

bool is_table_list(const Value& value) {
  const auto* list = value.as<Value::Array>();
  return list && !list->empty() && list->front().is_table();
}

bool has_table_above(const Value& file, const std::string& path) {
  const Value* above = config::value_at(file, parent(path));
  return above && above->is_table();
}

void walk(const Value& file, Walked& walked) {
  const std::string base = cell(file);
  for (const auto& path : config::paths_of(file)) {
    const Value& value = *config::value_at(file, path);
    if (!has_table_above(file, path) || value.is_table()) continue;
    if (!is_table_list(value)) {
      walk_value(file, base, path, value, walked);
      continue;
    }
    for (std::size_t i = 0; i < value.as<Value::Array>()->size(); ++i) {  // one table less, where it may be missing
      auto fewer = *value.as<Value::Array>();
      fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
      expect_cell(file, base, path, Value(fewer), walked);
    }
    walked.places.insert(place_of(file, path));
  }
}

/// A TOML file in the opposite sequence of keys, all in one-line tables, integers in hexadecimal, numbers with exponents.
std::string written_otherwise(const Value& value) {
  if (const auto* integer = value.as<Index>()) return fmt::format("0x{:x}", *integer);
  if (const auto* number = value.as<double>()) return fmt::format("{:+.17e}", *number);
  std::string out;
  if (const auto* list = value.as<Value::Array>()) {
    for (const Value& item : *list) out += written_otherwise(item) + ", # a comment\n";
    return "[\n" + out + "]";
  }
  const auto* table = value.as<Value::Table>();
  if (!table) return config::to_text(value);
  for (auto entry = table->rbegin(); entry != table->rend(); ++entry) out += (out.empty() ? "'" : ", '") + entry->first + "' = " + written_otherwise(entry->second);
  return "{ " + out + " }";
}

std::string file_written_otherwise(const Value& file) {
  std::string out = "# a comment\n";
  const auto& table = *file.as<Value::Table>();
  for (auto entry = table.rbegin(); entry != table.rend(); ++entry) out += entry->first + " = " + written_otherwise(entry->second) + "  # another\n\n";
  return out;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(run_identity)

BOOST_AUTO_TEST_CASE(every_key_that_can_change_a_result_changes_the_cell_and_no_other_does) {
  Walked walked;
  std::set<std::string> schema;
  for (const auto& document : documents()) {
    const Value file = parsed(document);
    BOOST_TEST_REQUIRE(kronlab::testing::message_of([&] { spec_of(file); }) == "nothing was thrown");
    walk(file, walked);
    auto tables = config::paths_of(file);
    tables.emplace_back("");
    for (const auto& path : tables) {  // what the program says that it knows in each table
      if (!config::value_at(file, path)->is_table()) continue;
      const std::string stem = path.empty() ? "" : path + ".";
      const auto known = known_in_error(with(file, stem + "zzzz", Value(true)), "unknown key '" + stem + "zzzz'");
      BOOST_TEST(!known.empty(), path);
      for (const auto& key : known) {
        const Value* value = config::value_at(file, stem + key);
        if (!value || !value->is_table()) schema.insert(place_of(file, stem + key));
      }
    }
  }
  // Tables that this walk calls by name below are walked in them; a stage of one part has the part's keys itself.
  const std::set<std::string> tables{"experiment", "budget", "model", "student", "data", "parallel", "data.calibration", "data.distillation", "stage.distill", "stage.sensitivity", "stage.decompose",
                                     "stage.permute", "stage.part.decompose", "stage.part.permute", "evaluate.protocol", "evaluate.dataset", "stage.distill.optimizer",
                                     "stage.distill.schedule", "stage.distill.checkpoint", "stage.distill.losses", "decomposer.permute"};
  for (const auto& place : schema) {
    if (tables.contains(without_kinds(place))) continue;
    BOOST_TEST(walked.places.contains(place), "the documents of this test leave out '" << place << "', or never change it");
  }
  for (const auto& word : words) {
    BOOST_TEST(std::ranges::any_of(walked.places, [&](const std::string& place) { return without_kinds(place) == word; }), "nobody knows the word " << word);
  }
  BOOST_TEST(schema.size() > 120u, schema.size());
}

BOOST_AUTO_TEST_CASE(every_choice_is_seen_and_differs_from_the_others) {
  Walked walked;
  std::map<std::string, std::set<std::string>> known;
  for (const auto& document : documents()) {
    const Value file = parsed(document);
    walk(file, walked);
    for (const auto& path : config::paths_of(file)) {
      if (!config::value_at(file, path)->as<std::string>() || !has_table_above(file, path)) continue;
      for (const auto& name : known_in_error(with(file, path, Value("zzzz")), "unknown 'zzzz'")) known[without_kinds(place_of(file, path))].insert(name);
    }
  }
  BOOST_TEST(known.size() > 15u, known.size());
  for (const auto& [place, names] : known) {
    for (const auto& name : names) BOOST_TEST(walked.choices[place].contains(name), place << " = " << name << " is in no document of this test");
  }
}

BOOST_AUTO_TEST_CASE(the_cell_is_the_same_however_it_is_written) {
  for (const auto& document : documents()) {
    const Value file = parsed(document);
    const std::string base = cell(file);
    BOOST_TEST(cell(parsed(file_written_otherwise(file))) == base);
    BOOST_TEST(cell(spec_of(file).resolved) == base);  // defaults written down
    const std::map<std::string, std::string> files{{"a/e.toml", "include = \"../b.toml\"\n[experiment]\nname = \"other\"\nseed = 1\n"}, {"b.toml", document}};
    BOOST_TEST(cell(config::read_toml_file("a/e.toml", [&](const std::string& path) { return files.at(path); })) == base);
    const auto swept = config::expand_sweep(with(file, "sweep", parsed("seeds = [1]")), {{"experiment.question", "why"}});
    BOOST_TEST(cell(swept.at(0).config) == base);
  }
}

BOOST_AUTO_TEST_CASE(another_file_that_is_read_is_another_cell) {
  const auto spec = spec_of(parsed(documents()[0]));
  auto hashes = hashes_of(spec);
  hashes.student_config = "hash of a file";
  std::set<std::string> cells{cell_of(spec, hashes)};
  std::size_t num_changes = 1;
  const auto change = [&](std::string& hash) {
    const std::string before = hash;
    hash += "'";
    cells.insert(cell_of(spec, hashes));
    hash = before;
    ++num_changes;
  };
  change(hashes.model), change(hashes.student_config);
  for (auto* list : {&hashes.calibration, &hashes.distillation, &hashes.evaluation}) {
    BOOST_TEST(list->size() == (list == &hashes.evaluation ? 3u : 2u));
    for (auto& hash : *list) change(hash);
  }
  BOOST_TEST(cells.size() == num_changes);
}

BOOST_AUTO_TEST_CASE(what_is_kept_of_a_dense_student_is_of_its_shape_its_tokenizer_and_its_seed) {
  const std::string random = head + evaluations + "[student]\ninit = \"random\"\n";
  const auto key = [](const std::string& toml, const InputHashes& hashes) { return dense_key(spec_of(parsed(toml)), hashes); };
  const std::string base = key(random, {"m", "", {}, {}, {}, {}});
  BOOST_TEST(key(random, {"other", "", {}, {}, {}, {}}) != base);
  BOOST_TEST(key(random, {"m", "shape", {}, {}, {}, {}}) != base);
  BOOST_TEST(key(random, {"other", "shape", {}, {}, {}, {}}) != key(random, {"m", "shape", {}, {}, {}, {}}));
  for (const auto& [from, to] : {std::pair{"seed = 1", "seed = 2"}, {"as-is", "untied"}}) {
    std::string changed = random;
    BOOST_TEST(key(changed.replace(changed.find(from), std::string(from).size(), to), {"m", "", {}, {}, {}, {}}) != base);
  }
  BOOST_TEST(key(head, {"m", "", {}, {}, {}, {}}) != base);
  BOOST_TEST(key(head + "[student]\nblocks = [0]\n", {"m", "", {}, {}, {}, {}}) != key(head, {"m", "", {}, {}, {}, {}}));
}

BOOST_AUTO_TEST_SUITE_END()
