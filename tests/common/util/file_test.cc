#include "common/util/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_folder.h"

namespace cupel {
namespace {

namespace fs = std::filesystem;

using absl::StatusCode;
using testing::IsOk;
using testing::StatusIs;
using testing::StatusOf;
using testing::TemporaryFolder;

TEST_CASE("What WriteFile wrote, ReadFile reads") {
  const TemporaryFolder folder;
  const std::string path = folder / "a";
  for (const std::string& content : {std::string(), std::string("a\0\xff\n", 4),
                                     std::string(size_t{1} << 18, 'x'),
                                     std::string((size_t{1} << 18) + 1, 'y')}) {
    CAPTURE(content.size());
    REQUIRE_THAT(WriteFile(path, content), IsOk());
    const auto read = ReadFile(path, content.size());
    REQUIRE_THAT(StatusOf(read), IsOk());
    CHECK(AsText(*read) == content);
    CHECK(folder.CountFiles() == 1);
  }
}

TEST_CASE("A file over the bound is refused") {
  const TemporaryFolder folder;
  const std::string path = folder / "a";
  REQUIRE_THAT(WriteFile(path, "12345"), IsOk());
  CHECK(ReadFile(path, 5)->size() == 5);
  CHECK_THAT(StatusOf(ReadFile(path, 4)),
             StatusIs(StatusCode::kResourceExhausted, path));
  CHECK_THAT(StatusOf(ReadFile(path, 0)),
             StatusIs(StatusCode::kResourceExhausted, path));
}

TEST_CASE("An endless file is refused at the bound") {
  CHECK_THAT(StatusOf(ReadFile("/dev/zero", size_t{1} << 20)),
             StatusIs(StatusCode::kResourceExhausted, "/dev/zero"));
}

TEST_CASE("A missing file and a folder are refused by name") {
  const TemporaryFolder folder;
  CHECK_THAT(StatusOf(ReadFile(folder / "gone", 100)),
             StatusIs(StatusCode::kNotFound, folder / "gone"));
  CHECK_THAT(StatusOf(ReadFile(folder / "", 100)),
             StatusIs(StatusCode::kInvalidArgument, folder / ""));
  REQUIRE_THAT(WriteFile(folder / "a", ""), IsOk());
  CHECK_THAT(StatusOf(ReadFile(folder / "a/b", 100)),
             StatusIs(StatusCode::kInvalidArgument));
}

TEST_CASE("A name is escaped in the error about it") {
  const absl::Status status = StatusOf(ReadFile("/no/such/\x1b[2J", 100));
  CHECK_THAT(status, StatusIs(StatusCode::kNotFound, "/no/such/\\x1b[2J"));
}

TEST_CASE("Chunks have at most the size asked for and come in order") {
  const TemporaryFolder folder;
  const std::string path = folder / "a";
  REQUIRE_THAT(WriteFile(path, "abcdefgh"), IsOk());
  std::string all;
  size_t calls = 0;
  CHECK_THAT(ReadFileInChunks(path, 3,
                              [&](std::span<const uint8_t> chunk) {
                                CHECK(chunk.size() <= 3);
                                CHECK_FALSE(chunk.empty());
                                all += std::string(AsText(chunk));
                                ++calls;
                                return absl::OkStatus();
                              }),
             IsOk());
  CHECK(all == "abcdefgh");
  CHECK(calls == 3);
}

TEST_CASE("A status from the sink ends the reading") {
  const TemporaryFolder folder;
  const std::string path = folder / "a";
  REQUIRE_THAT(WriteFile(path, "abcdefgh"), IsOk());
  size_t calls = 0;
  CHECK_THAT(ReadFileInChunks(path, 2,
                              [&](std::span<const uint8_t>) -> absl::Status {
                                if (++calls < 2) return absl::OkStatus();
                                return absl::CancelledError("enough");
                              }),
             StatusIs(StatusCode::kCancelled, "enough"));
  CHECK(calls == 2);
}

TEST_CASE("WriteFile replaces a file in one step") {
  const TemporaryFolder folder;
  const std::string path = folder / "a";
  REQUIRE_THAT(WriteFile(path, "old"), IsOk());
  // Who has the old file open goes on reading it: it was not written over.
  const int old_file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(old_file >= 0);
  REQUIRE_THAT(WriteFile(path, "newer"), IsOk());
  char content[8] = {};
  CHECK(read(old_file, content, sizeof(content)) == 3);
  CHECK(std::string(content) == "old");
  close(old_file);
  CHECK(AsText(*ReadFile(path, 100)) == "newer");
  CHECK(folder.CountFiles() == 1);
}

TEST_CASE("WriteFile gives the rights that umask leaves") {
  const TemporaryFolder folder;
  const std::string path = folder / "a";
  const mode_t before = umask(027);
  const absl::Status status = WriteFile(path, "a");
  umask(before);
  REQUIRE_THAT(status, IsOk());
  struct stat info = {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0640);
}

TEST_CASE("WriteFile gives exactly the rights that it is told") {
  const TemporaryFolder folder;
  const std::string path = folder / "a";
  REQUIRE_THAT(WriteFile(path, "was for everybody"), IsOk());
  const mode_t mode = GENERATE(mode_t{0600}, mode_t{0644}, mode_t{0666});
  const mode_t before = umask(077);
  const absl::Status status = WriteFile(
      path, "a",
      {.mode = mode, .owner = User{.uid = getuid(), .gid = getgid()}});
  umask(before);
  REQUIRE_THAT(status, IsOk());
  struct stat info = {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == mode);
  CHECK(info.st_uid == getuid());
  CHECK(AsText(*ReadFile(path, 100)) == "a");
  CHECK(folder.CountFiles() == 1);
}

TEST_CASE("SyncFolder takes folders alone") {
  const TemporaryFolder folder;
  CHECK_THAT(SyncFolder(folder / ""), IsOk());
  REQUIRE_THAT(WriteFile(folder / "a", ""), IsOk());
  CHECK_THAT(SyncFolder(folder / "a"),
             StatusIs(StatusCode::kInvalidArgument, folder / "a"));
  CHECK_THAT(SyncFolder(folder / "gone"),
             StatusIs(StatusCode::kNotFound, folder / "gone"));
}

TEST_CASE("WriteFile writes to a pipe and to a device, and replaces neither") {
  const TemporaryFolder folder;
  const std::string path = folder / "pipe";
  REQUIRE(mkfifo(path.c_str(), 0600) == 0);
  const int reader = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  REQUIRE(reader >= 0);
  CHECK_THAT(WriteFile(path, "abc"), IsOk());
  char content[8] = {};
  CHECK(read(reader, content, sizeof(content)) == 3);
  CHECK(std::string(content) == "abc");
  close(reader);
  CHECK(fs::is_fifo(path));
  CHECK(folder.CountFiles() == 1);

  CHECK_THAT(WriteFile("/dev/full", "abc"),
             StatusIs(StatusCode::kUnavailable, "/dev/full"));
  CHECK(fs::is_character_file("/dev/full"));
}

TEST_CASE("A failed write leaves the old file and no other behind") {
  const TemporaryFolder folder;
  CHECK_THAT(WriteFile(folder / "gone/a", "a"),
             StatusIs(StatusCode::kNotFound, folder / "gone/a"));
  // A folder can't be replaced by a file.
  REQUIRE(fs::create_directory(folder / "b"));
  CHECK_FALSE(WriteFile(folder / "b", "a").ok());
  CHECK(fs::is_directory(folder / "b"));
  CHECK(folder.CountFiles() == 1);
}

TEST_CASE("Several threads may write one file") {
  const TemporaryFolder folder;
  const std::string path = folder / "a";
  constexpr int kThreads = 4;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  std::atomic<int> failures = 0;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&path, &failures, i] {
      const std::string content(1000, static_cast<char>('a' + i));
      for (int round = 0; round < 5; ++round) {
        if (!WriteFile(path, content).ok()) ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failures == 0);
  const auto content = ReadFile(path, 1000);
  REQUIRE_THAT(StatusOf(content), IsOk());
  CHECK(content->size() == 1000);
  CHECK(std::set<uint8_t>(content->begin(), content->end()).size() == 1);
  CHECK(folder.CountFiles() == 1);
}

}  // namespace
}  // namespace cupel
