#ifndef CUPEL_TENANT_HELP_FORMATTER_H_
#define CUPEL_TENANT_HELP_FORMATTER_H_

#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "CLI/Formatter.hpp"

namespace cupel::tenant {

// CLI11's help with lines that fit a terminal of 80 columns; in a list of
// subcommands the first sentence of each.
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter();

  std::string make_description(const CLI::App* app) const override;
  std::string make_footer(const CLI::App* app) const override;
  std::string make_subcommand(const CLI::App* sub) const override;
  std::string make_option_desc(const CLI::Option* option) const override;
};

// Puts examples, a command line each, before what the help ends with.
void AddExamples(CLI::App& command, const std::vector<std::string>& lines);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_HELP_FORMATTER_H_
