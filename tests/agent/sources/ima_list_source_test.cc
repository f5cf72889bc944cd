#include "agent/sources/ima_list_source.h"

#include <fcntl.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/support/list_builder.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_folder.h"

namespace cupel::agent {
namespace {

using ::cupel::testing::FileDigestOf;
using ::cupel::testing::IsOk;
using ::cupel::testing::ListBuilder;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using ::cupel::testing::TemporaryFolder;

ListBuilder SomeList(int entries) {
  ListBuilder list;
  for (int i = 0; i < entries; ++i) {
    const std::string path = absl::StrCat("/usr/bin/", i);
    list.AddFile(path, FileDigestOf(path));
  }
  return list;
}

// Writes in place, so that a descriptor that is open sees it.
void WriteAt(const std::string& path, std::span<const uint8_t> bytes,
             int flags) {
  const int fd =
      open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
  REQUIRE(fd >= 0);
  REQUIRE(write(fd, bytes.data(), bytes.size()) ==
          static_cast<ssize_t>(bytes.size()));
  close(fd);
}

TEST_CASE("a plain list is counted as it grows, records cut or not") {
  const TemporaryFolder folder;
  const std::string path = folder / "list";
  const ListBuilder list = SomeList(20);
  WriteAt(path, {}, O_TRUNC);
  const auto source = ImaListSource::Open(path, "");
  REQUIRE_THAT(StatusOf(source), IsOk());
  for (size_t i = 0; i < list.bytes().size(); i += 7) {
    const size_t size = std::min<size_t>(7, list.bytes().size() - i);
    WriteAt(path, std::span(list.bytes()).subspan(i, size), O_APPEND);
    size_t whole = 0;
    while (whole < list.size() &&
           (whole + 1 == list.size() ? list.bytes().size()
                                     : list.offsets()[whole + 1]) <= i + size) {
      ++whole;
    }
    const auto count = (*source)->EntryCount();
    REQUIRE_THAT(StatusOf(count), IsOk());
    CHECK(*count == whole);
  }
  // Replaced: by a shorter one, and by one that is longer when it is looked at.
  const ListBuilder shorter = SomeList(3);
  WriteAt(path, shorter.bytes(), O_TRUNC);
  CHECK(*(*source)->EntryCount() == 3);
  ListBuilder longer;
  for (int i = 0; i < 30; ++i) longer.AddFile("/a/b", FileDigestOf("b"));
  WriteAt(path, longer.bytes(), O_TRUNC);
  CHECK(*(*source)->EntryCount() == 30);
}

TEST_CASE("a plain list that is none is not counted") {
  const TemporaryFolder folder;
  const std::string path = folder / "list";
  std::vector<uint8_t> bytes = SomeList(3).bytes();
  bytes[0] = 99;
  WriteAt(path, bytes, O_TRUNC);
  const auto source = ImaListSource::Open(path, "");
  for (int i = 0; i < 3; ++i) {
    CHECK_THAT(StatusOf((*source)->EntryCount()),
               StatusIs(absl::StatusCode::kInvalidArgument, path));
  }
  WriteAt(path, SomeList(4).bytes(), O_TRUNC);
  CHECK(*(*source)->EntryCount() == 4);
}

TEST_CASE("the kernel's count is read anew each time") {
  const TemporaryFolder folder;
  const std::string count = folder / "count";
  WriteAt(folder / "list", {}, O_TRUNC);
  WriteAt(count, AsBytes("0\n"), O_TRUNC);
  const auto source = ImaListSource::Open(folder / "list", count);
  REQUIRE_THAT(StatusOf(source), IsOk());
  CHECK(*(*source)->EntryCount() == 0);
  WriteAt(count, AsBytes("12345\n"), O_TRUNC);
  CHECK(*(*source)->EntryCount() == 12345);
  for (const char* text : {"", "many", "-1", "12 3"}) {
    CAPTURE(text);
    WriteAt(count, AsBytes(text), O_TRUNC);
    CHECK_THAT(StatusOf((*source)->EntryCount()),
               StatusIs(absl::StatusCode::kInvalidArgument, count));
  }
}

TEST_CASE("the list is read in pieces, from anywhere") {
  const TemporaryFolder folder;
  const std::string path = folder / "list";
  const std::vector<uint8_t> bytes = SomeList(30'000).bytes();
  REQUIRE(bytes.size() > 2 * ImaListSource::kMaxPieceSize);
  WriteAt(path, bytes, O_TRUNC);
  const auto source = ImaListSource::Open(path, "");
  std::vector<uint8_t> whole;
  while (true) {
    const auto piece = (*source)->ReadFrom(whole.size(), size_t{1} << 30);
    REQUIRE_THAT(StatusOf(piece), IsOk());
    CHECK(piece->size() <= ImaListSource::kMaxPieceSize);
    if (piece->empty()) break;
    Append(whole, *piece);
  }
  CHECK(whole == bytes);
  CHECK(*(*source)->ReadFrom(5, 10) ==
        std::vector<uint8_t>(bytes.begin() + 5, bytes.begin() + 15));
  CHECK((*source)->ReadFrom(bytes.size() + 5, 10)->empty());
  WriteAt(path, AsBytes("more"), O_APPEND);
  CHECK(AsText(*(*source)->ReadFrom(bytes.size(), 100)) == "more");
}

TEST_CASE("a list that is not there is an error with a cure") {
  const TemporaryFolder folder;
  CHECK_THAT(StatusOf(ImaListSource::Open(folder / "none", "")),
             StatusIs(absl::StatusCode::kNotFound, "securityfs"));
  WriteAt(folder / "list", {}, O_TRUNC);
  CHECK_THAT(StatusOf(ImaListSource::Open(folder / "list", folder / "none")),
             StatusIs(absl::StatusCode::kNotFound, "none"));
}

}  // namespace
}  // namespace cupel::agent
