#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "framework/base/random.hpp"
#include "framework/model/tokenizer.hpp"

namespace kronlab::model {

/// The token ids of one source of text, cut into windows: w tokens each, one behind the other, none shared, none
/// padded; what is left at the end is not used. Copies share the ids.
class TokenStream {
 public:
  /// ids: [num_tokens], which the pointers own, e.g. a mapped file; every one is below `vocab_size`.
  TokenStream(std::string name, std::shared_ptr<const std::uint16_t> ids, Index num_tokens, Index vocab_size);
  TokenStream(std::string name, std::shared_ptr<const std::uint32_t> ids, Index num_tokens, Index vocab_size);
  TokenStream(std::string name, const std::vector<TokenId>& ids, Index vocab_size);

  const std::string& name() const { return name_; }
  Index num_tokens() const { return num_tokens_; }

  /// At least 1. @pre length >= 1 @throws DataError if the text is shorter than one window, with both numbers
  Index num_windows(Index length) const;
  /// The tokens [index w, (index + 1) w) for w = out.size(). @pre they are there
  /// @throws DataError on an id that is not in the vocabulary
  void window(Index index, std::span<TokenId> out) const;
  /// Reads all ids. @throws DataError as above
  void expect_in_vocabulary() const;

 private:
  std::string name_;
  std::variant<std::shared_ptr<const std::uint16_t>, std::shared_ptr<const std::uint32_t>> ids_;
  Index num_tokens_ = 0;
  Index vocab_size_ = 0;
};

/// Which windows of a source are for training and which are held out; both ascending, together 0 .. num_windows-1.
struct WindowSplit {
  std::vector<Index> training;
  std::vector<Index> held_out;
};

/// Holds out the middle one of each of `num_held_out` equal parts of the source, so that they are spread over it and
/// chosen by the two numbers alone: the k-th is window floor((2 k + 1) num_windows / (2 num_held_out)).
/// @pre 0 <= num_held_out <= num_windows
WindowSplit split(Index num_windows, Index num_held_out);

/// A source of training windows.
struct WindowSource {
  std::string name;  ///< names its random stream
  Index num_windows = 0;
  double weight = 1.0;     ///< share of the sequence, relative to the other sources
  Index num_held_out = 0;  ///< windows that are never in the sequence: `split`'s
};

/// One window of one source.
struct WindowPlace {
  Index source = 0;
  Index window = 0;
  bool operator==(const WindowPlace&) const = default;
};

/// An endless sequence of training windows over several sources. The i-th is a function of the stream, the sources and
/// i alone: no rank, batch size or history enters, so that a run may stop at any i and go on there.
///
/// At i the source follows whose share is farthest behind: the largest weight_s (i + 1) - taken_s with weights of sum
/// 1, the first among equals. Each source goes through a random permutation of its windows, and through a new one each
/// time (epoch) all have been taken: random.child(NAME).child("epoch").child(e).
///
/// Of one thread at a time: it remembers where it is.
class WindowSequence {
 public:
  /// @pre at least one source; names differ; each has more windows than it holds out, and a positive finite weight
  WindowSequence(std::vector<WindowSource> sources, RandomStream random);

  /// Time O(sources) for each window between the last i and this one (from 0 when going back), and O(num_windows) when
  /// an epoch begins. @pre i >= 0
  WindowPlace at(Index i);
  /// How often the windows of a source came before i, over its training windows: 1.5 is half through the second epoch.
  double epochs(Index source, Index i);

 private:
  /// A source with its place in the sequence.
  struct Walk {
    Walk(RandomStream epochs, double share, std::vector<Index> training)
        : random(epochs), weight(share), windows(std::move(training)) {}
    RandomStream random;
    double weight;               ///< of all weights' sum
    std::vector<Index> windows;  ///< for training
    Index taken = 0;
    Index epoch = -1;  ///< of `order`
    std::vector<Index> order;
  };
  void walk_to(Index i);
  std::size_t next_source() const;

  std::vector<Walk> walks_;
  Index next_ = 0;  ///< windows taken in all
};

}  // namespace kronlab::model
