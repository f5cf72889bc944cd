// Any text has options of a kernel's names, whose values stand in it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/doctor/kernel_config.h"
#include "common/util/bytes.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto text = cupel::AsText({data, size});
  const cupel::agent::KernelConfig config{
      .path = "config", .options = cupel::agent::ParseKernelConfig(text)};
  std::string again;
  for (const auto& [option, value] : config.options) {
    Require(absl::StartsWith(option, "CONFIG_"));
    Require(option.find_first_of("=\n") == std::string::npos);
    Require(value.find('\n') == std::string::npos);
    Require(absl::StrContains(text, value));
    const std::string shown = config.Get(option);
    Require(shown.size() == value.size() || absl::StartsWith(value, "\""));
    absl::StrAppend(&again, option, "=", value, "\n");
  }
  Require(cupel::agent::ParseKernelConfig(again) == config.options);
  Require(config.Get("CONFIG_").empty() || config.options.contains("CONFIG_"));
  return 0;
}
