#include "tenant/help_formatter.h"

#include <cstddef>
#include <sstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace cupel::tenant {
namespace {

constexpr size_t kLineWidth = 79;
constexpr size_t kNameWidth = 28;

// Lines of at most `width` characters, broken at blanks. Lines that start with
// a blank are examples and stay as they are.
std::string Wrap(absl::string_view text, size_t width) {
  std::vector<std::string> lines;
  for (const absl::string_view paragraph : absl::StrSplit(text, '\n')) {
    lines.emplace_back();
    if (!paragraph.empty() && paragraph.front() == ' ') {
      lines.back() = std::string(paragraph);
      continue;
    }
    for (const absl::string_view word : absl::StrSplit(paragraph, ' ')) {
      if (!lines.back().empty()) {
        if (lines.back().size() + 1 + word.size() > width) {
          lines.emplace_back();
        } else {
          lines.back() += ' ';
        }
      }
      lines.back().append(word.data(), word.size());
    }
  }
  return absl::StrJoin(lines, "\n");
}

std::string FirstSentence(const std::string& text) {
  const size_t end = text.find_first_of(".;:");
  return text.substr(0, end);
}

}  // namespace

HelpFormatter::HelpFormatter() { column_width(kNameWidth); }

std::string HelpFormatter::make_description(const CLI::App* app) const {
  return Wrap(CLI::Formatter::make_description(app), kLineWidth);
}

std::string HelpFormatter::make_footer(const CLI::App* app) const {
  return Wrap(CLI::Formatter::make_footer(app), kLineWidth);
}

std::string HelpFormatter::make_subcommand(const CLI::App* sub) const {
  std::ostringstream out;
  CLI::detail::format_help(
      out, sub->get_display_name(true),
      Wrap(FirstSentence(sub->get_description()), kLineWidth - kNameWidth),
      kNameWidth);
  return out.str();
}

std::string HelpFormatter::make_option_desc(const CLI::Option* option) const {
  return Wrap(option->get_description(), kLineWidth - kNameWidth);
}

void AddExamples(CLI::App& command, const std::vector<std::string>& lines) {
  command.footer(absl::StrCat("Examples:\n  ", absl::StrJoin(lines, "\n  "),
                              "\n\n", command.get_footer()));
}

}  // namespace cupel::tenant
