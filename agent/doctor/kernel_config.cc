#include "agent/doctor/kernel_config.h"

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"

namespace cupel::agent {
namespace {

// A distribution's has 300 KiB.
constexpr size_t kMaxSize = size_t{8} << 20;

absl::StatusOr<std::string> Gunzip(std::span<const uint8_t> bytes) {
  constexpr int kGzip = 16 + MAX_WBITS;
  z_stream stream = {};
  if (inflateInit2(&stream, kGzip) != Z_OK) {
    return absl::InternalError("inflateInit2");
  }
  // zlib does not write to its input.
  stream.next_in = const_cast<Bytef*>(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string text(kMaxSize, '\0');
  stream.next_out = reinterpret_cast<Bytef*>(text.data());
  stream.avail_out = static_cast<uInt>(text.size());
  const int result = inflate(&stream, Z_FINISH);
  text.resize(text.size() - stream.avail_out);
  inflateEnd(&stream);
  if (result != Z_STREAM_END) {
    return absl::InvalidArgumentError("no gzip file, or too large");
  }
  return text;
}

}  // namespace

std::string KernelConfig::Get(const std::string& option) const {
  const auto found = options.find(option);
  if (found == options.end()) return "";
  absl::string_view value = found->second;
  if (absl::ConsumePrefix(&value, "\"")) absl::ConsumeSuffix(&value, "\"");
  return std::string(value);
}

std::map<std::string, std::string> ParseKernelConfig(absl::string_view text) {
  std::map<std::string, std::string> options;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!absl::StartsWith(line, "CONFIG_")) continue;
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(line, absl::MaxSplits('=', 1));
    options.emplace(parts.first, parts.second);
  }
  return options;
}

absl::StatusOr<KernelConfig> ReadKernelConfig(const std::string& root,
                                              const std::string& release) {
  for (const std::string& path :
       {std::string("/proc/config.gz"), absl::StrCat("/boot/config-", release),
        absl::StrCat("/lib/modules/", release, "/config")}) {
    const auto bytes = ReadFile(root + path, kMaxSize);
    if (absl::IsNotFound(bytes.status())) continue;
    CUPEL_RETURN_IF_ERROR(bytes.status());
    std::string text(AsText(*bytes));
    if (absl::EndsWith(path, ".gz")) {
      auto plain = Gunzip(*bytes);
      if (!plain.ok()) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, ": ", plain.status().message()));
      }
      text = *std::move(plain);
    }
    KernelConfig config{.path = path, .options = ParseKernelConfig(text)};
    if (config.options.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          EscapeForDisplay(path), ": no option of a kernel in it"));
    }
    return config;
  }
  return absl::NotFoundError(
      absl::StrCat("there is no configuration of the kernel ",
                   EscapeForDisplay(release), " in /proc or /boot"));
}

}  // namespace cupel::agent
