#pragma once

#include <string>

namespace kronlab::analysis {

/// gnuplot's single quotes: nothing is special inside but the quote.
std::string quoted(const std::string& text);
/// In double quotes, for data blocks and titles of two lines; what gnuplot would interpret becomes a blank.
std::string plain_quoted(const std::string& text);
/// The beginning of a script: terminal, fonts, borders. Extents in pixels.
std::string picture_of_size(std::size_t width, std::size_t height);
/// Runs a gnuplot script whose output is a PNG; the picture is whole or not there, the script does not stay.
/// @throws StorageError if gnuplot is not there or fails, or the picture cannot be written
void draw_picture(const std::string& script, const std::string& out);

}  // namespace kronlab::analysis
