#pragma once

#include <string>

namespace kronlab::analysis {

/// What a drawing is made for: a picture's extents are in pixels, a terminal's in characters.
enum class Medium { picture, terminal };

/// A gnuplot script without its terminal and output.
struct Drawing {
  double width = 0.0, height = 0.0;
  std::string script;
};

/// gnuplot's single quotes: nothing is special inside but the quote.
std::string quoted(const std::string& text);
/// In double quotes, for data blocks and titles of two lines; what gnuplot would interpret becomes a blank.
std::string plain_quoted(const std::string& text);
/// At most so many characters of UTF-8: the end is cut.
std::string cut_to(const std::string& text, std::size_t longest);

/// A pale grid behind a picture; none in a terminal.
std::string grid(Medium medium);

/// Columns of this terminal, 80 where there is none.
double terminal_columns();

/// Writes a picture in the format of its extension: PNG, SVG or PDF; it is whole or not there, the script does not stay.
/// @throws ConfigError for another extension; StorageError if gnuplot is not there or fails, or the picture cannot be
/// written
void draw_picture(const Drawing& drawing, const std::string& out);
/// Prints a drawing made for a terminal on standard output. @throws StorageError if gnuplot is not there or fails
void draw_in_terminal(const Drawing& drawing);

}  // namespace kronlab::analysis
