// Progress: on a terminal, past half a second, and gone at the end.

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "tests/cli/cli.h"
#include "tests/support/temporary_folder.h"

namespace cupel::testing {
namespace {

using Arguments = std::vector<std::string>;

constexpr char kErase[] = "\r\x1b[K";

// Runs `command` with a list long enough to take a while, its errors on a
// terminal. Longer and longer, until there was progress to be seen.
CommandResult RunLong(const Arguments& command) {
  const TemporaryFolder folder;
  const std::string list = folder / "list";
  std::string bytes = TextOf(QuotedList());
  while (bytes.size() < size_t{40} << 20) bytes += bytes;
  CommandResult result;
  for (int attempt = 0; attempt < 4; ++attempt) {
    Spill(list, bytes);
    CommandOptions options;
    options.err = Stream::kTerminal;
    options.timeout = std::chrono::minutes(3);
    result = Tenant(command + Arguments{list}, options);
    if (!result.err.empty()) return result;
    bytes += bytes;
  }
  return result;
}

void CheckProgress(const CommandResult& result, absl::string_view what) {
  CHECK(absl::StartsWith(result.err, kErase));
  CHECK(absl::StrContains(result.err, what));
  // Nothing of it is left.
  CHECK(absl::EndsWith(result.err, kErase));
  CHECK_FALSE(absl::StrContains(result.err, "\n"));
}

TEST_CASE("progress: long work shows it on a terminal, and takes it away") {
  const CommandResult replay = RunLong({"log", "replay"});
  CHECK(replay.exit_code == 0);
  CheckProgress(replay, " entries replayed");

  // Four banks to replay to the end, since nothing explains these values.
  const TemporaryFolder folder;
  Spill(
      folder / "pcrs.json",
      absl::StrCat(R"({"sha1":{"10":")", std::string(40, '1'),
                   R"("},"sha256":{"10":")", std::string(64, '1'),
                   R"("},"sha384":{"10":")", std::string(96, '1'),
                   R"("},"sha512":{"10":")", std::string(128, '1'), R"("}})"));
  const CommandResult appraise =
      RunLong({"appraise", "--policy", VectorPath("guide/policy.json"),
               "--pcrs", folder / "pcrs.json", "--ima-list"});
  CHECK(appraise.exit_code == 1);
  CheckProgress(appraise, " entries judged");
}

TEST_CASE("progress: hashing files shows how many") {
  const TemporaryFolder folder;
  // A file of holes under many names: much to hash, and nothing to store.
  constexpr int kNames = 300;
  std::filesystem::create_directory(folder / "root");
  Spill(folder / "root/file", "");
  for (int i = 0; i < kNames; ++i) {
    std::filesystem::create_hard_link(folder / "root/file",
                                      folder / absl::StrCat("root/", i));
  }
  CommandOptions options;
  options.err = Stream::kTerminal;
  options.timeout = std::chrono::minutes(3);
  CommandResult result;
  for (uintmax_t size = 1 << 20; size <= 1 << 28; size *= 4) {
    std::filesystem::resize_file(folder / "root/file", size);
    result = Tenant({"allowlist", "create", "-", "--root", folder / "root"},
                    options);
    CHECK(result.exit_code == 0);
    if (!result.err.empty()) break;
  }
  CHECK(Lines(result.out).size() == kNames + 1);
  CheckProgress(result, " files hashed");
}

TEST_CASE("progress: nothing of it where errors go to a file") {
  const TemporaryFolder folder;
  std::string bytes = TextOf(QuotedList());
  while (bytes.size() < size_t{40} << 20) bytes += bytes;
  Spill(folder / "list", bytes);
  CHECK(Tenant({"log", "replay", folder / "list"}).err.empty());
}

TEST_CASE("progress: nothing of it where the work is short") {
  CommandOptions options;
  options.err = Stream::kTerminal;
  for (const Arguments& command :
       {Arguments{"log", "replay", QuotedList()},
        Arguments{"log", "show", QuotedList(), "--tail", "1"}}) {
    const CommandResult result = Tenant(command, options);
    CHECK(result.exit_code == 0);
    CHECK(result.err.empty());
  }
}

}  // namespace
}  // namespace cupel::testing
