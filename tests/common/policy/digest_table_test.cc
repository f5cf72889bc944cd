#include "common/policy/digest_table.h"

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel::policy {
namespace {

using crypto::Digest;
using crypto::HashAlgorithm;
using testing::IsOk;
using testing::StatusIs;

using testing::kInvalid;

// A digest that differs for each number.
Digest Numbered(uint64_t number,
                HashAlgorithm algorithm = HashAlgorithm::kSha256) {
  Digest digest = Digest::Filled(algorithm, 0x5a);
  for (size_t i = 0; i < 8; ++i) {
    digest.mutable_bytes()[i] = static_cast<uint8_t>(number >> 8 * i);
  }
  return digest;
}

DigestMatch Match(const DigestTable& table, absl::string_view path,
                  const Digest& digest) {
  return table.Match(path, digest.algorithm(), digest.bytes());
}

using Content = std::vector<std::pair<std::string, std::vector<Digest>>>;

Content Everything(const DigestTable& table) {
  Content content;
  table.ForEach([&](absl::string_view path, std::span<const Digest> digests) {
    content.emplace_back(std::string(path),
                         std::vector<Digest>(digests.begin(), digests.end()));
  });
  return content;
}

TEST_CASE("An empty table lists nothing") {
  const DigestTable table;
  CHECK(Match(table, "/bin/sh", Numbered(1)) == DigestMatch::kUnlisted);
  CHECK(Match(table, "", Numbered(1)) == DigestMatch::kUnlisted);
  CHECK(table.Find("/bin/sh").empty());
  CHECK(Everything(table).empty());
  CHECK(table.path_count() == 0);
  CHECK(table.digest_count() == 0);
  CHECK(table.payload_size() == 0);
  table.Prefetch("/bin/sh");
  table.PrefetchRecord(DigestTable::HashPath("/bin/sh"));
}

TEST_CASE("A table tells listed, mismatch and unlisted apart") {
  DigestTable::Builder builder;
  REQUIRE_THAT(builder.Add("/bin/sh", Numbered(1)), IsOk());
  REQUIRE_THAT(builder.Add("/bin/sh", Numbered(2)), IsOk());
  REQUIRE_THAT(builder.AddPath("/bin/none"), IsOk());
  const DigestTable table = std::move(builder).Build();

  CHECK(Match(table, "/bin/sh", Numbered(1)) == DigestMatch::kListed);
  CHECK(Match(table, "/bin/sh", Numbered(2)) == DigestMatch::kListed);
  CHECK(Match(table, "/bin/sh", Numbered(3)) == DigestMatch::kMismatch);
  CHECK(Match(table, "/bin/s", Numbered(1)) == DigestMatch::kUnlisted);
  CHECK(Match(table, "/bin/shx", Numbered(1)) == DigestMatch::kUnlisted);
  CHECK(Match(table, "/bin/none", Numbered(1)) == DigestMatch::kMismatch);
  CHECK(table.Contains("/bin/none"));
  CHECK_FALSE(table.Contains("/bin"));
}

TEST_CASE("A digest of another algorithm or size never matches") {
  DigestTable::Builder builder;
  REQUIRE_THAT(builder.Add("/f", Numbered(1, HashAlgorithm::kSha256)), IsOk());
  const DigestTable table = std::move(builder).Build();
  const Digest sm3 = Numbered(1, HashAlgorithm::kSm3_256);
  CHECK(Match(table, "/f", sm3) == DigestMatch::kMismatch);
  const Digest listed = Numbered(1);
  CHECK(table.Match("/f", HashAlgorithm::kSha256, listed.bytes().first(31)) ==
        DigestMatch::kMismatch);
  CHECK(table.Match("/f", HashAlgorithm::kSha256, {}) ==
        DigestMatch::kMismatch);
}

TEST_CASE("Digests keep their order, and count once") {
  DigestTable::Builder builder;
  REQUIRE_THAT(builder.Add("/a", Numbered(3)), IsOk());
  REQUIRE_THAT(builder.Add("/b", Numbered(9)), IsOk());
  REQUIRE_THAT(builder.Add("/a", Numbered(1)), IsOk());
  REQUIRE_THAT(builder.Add("/a", Numbered(3)), IsOk());
  REQUIRE_THAT(builder.Add("/b", Numbered(9)), IsOk());
  CHECK(builder.FindRepeatedPath() == "/a");
  const DigestTable table = std::move(builder).Build();
  CHECK(Everything(table) ==
        Content{{"/a", {Numbered(3), Numbered(1)}}, {"/b", {Numbered(9)}}});
  CHECK(table.Find("/a") == std::vector{Numbered(3), Numbered(1)});
  CHECK(table.path_count() == 2);
  CHECK(table.digest_count() == 3);
  CHECK(table.payload_size() == 2 * 2 + 3 * 32);
}

TEST_CASE("The repeated path that is named is the first in the file") {
  DigestTable::Builder builder;
  for (const char* path : {"/a", "/b", "/c", "/c", "/a", "/b"}) {
    REQUIRE_THAT(builder.AddPath(path), IsOk());
  }
  CHECK(builder.FindRepeatedPath() == "/c");
  DigestTable::Builder other;
  REQUIRE_THAT(other.AddPath("/a"), IsOk());
  REQUIRE_THAT(other.AddPath("/b"), IsOk());
  CHECK(other.FindRepeatedPath() == std::nullopt);
}

TEST_CASE("A path with very many digests, most of them twice") {
  constexpr uint64_t kCount = 70000;  // past 16 bits
  DigestTable::Builder builder;
  REQUIRE_THAT(builder.AddPath("boot_aggregate"), IsOk());
  for (uint64_t round = 0; round < 2; ++round) {
    for (uint64_t i = 0; i < kCount; ++i) {
      const Digest digest = Numbered(i);
      REQUIRE(builder.AddDigest(digest.algorithm(), digest.bytes()).ok());
    }
  }
  const DigestTable table = std::move(builder).Build();
  CHECK(table.digest_count() == kCount);
  CHECK(table.Find("boot_aggregate").size() == kCount);
  CHECK(Match(table, "boot_aggregate", Numbered(kCount - 1)) ==
        DigestMatch::kListed);
  CHECK(Match(table, "boot_aggregate", Numbered(kCount)) ==
        DigestMatch::kMismatch);
}

TEST_CASE("A builder refuses paths that no file has") {
  DigestTable::Builder builder;
  CHECK_THAT(builder.AddPath(""), StatusIs(kInvalid, "empty path"));
  CHECK_THAT(builder.AddPath(absl::string_view("/a\0b", 4)),
             StatusIs(kInvalid, "NUL"));
  CHECK_THAT(builder.AddPath(std::string(kMaxPathSize + 1, 'a')),
             StatusIs(kInvalid, "8193 bytes"));
  const std::string longest(kMaxPathSize, 'a');
  REQUIRE_THAT(builder.Add(longest, Numbered(1)), IsOk());
  REQUIRE_THAT(builder.Add("\n\xff\x80", Numbered(2)), IsOk());
  const DigestTable table = std::move(builder).Build();
  CHECK(Match(table, longest, Numbered(1)) == DigestMatch::kListed);
  CHECK(Match(table, longest + "a", Numbered(1)) == DigestMatch::kUnlisted);
  CHECK(Match(table, "\n\xff\x80", Numbered(2)) == DigestMatch::kListed);
}

TEST_CASE("A builder refuses digests without a path or of the wrong size") {
  DigestTable::Builder builder;
  const Digest digest = Numbered(1);
  CHECK_THAT(builder.AddDigest(digest.algorithm(), digest.bytes()),
             StatusIs(absl::StatusCode::kFailedPrecondition));
  REQUIRE_THAT(builder.AddPath("/a"), IsOk());
  CHECK_THAT(builder.AddDigest(HashAlgorithm::kSha1, digest.bytes()),
             StatusIs(kInvalid, "sha1 digest of 32 bytes"));
  const DigestTable table = std::move(builder).Build();
  CHECK(table.digest_count() == 0);
  CHECK(table.path_count() == 1);
}

TEST_CASE("A copy outlives the table that it was made from") {
  DigestTable copy;
  {
    DigestTable::Builder builder;
    REQUIRE_THAT(builder.Add("/a", Numbered(1)), IsOk());
    const DigestTable table = std::move(builder).Build();
    copy = table;
  }
  CHECK(Match(copy, "/a", Numbered(1)) == DigestMatch::kListed);
}

TEST_CASE("Random tables agree with std::map") {
  std::mt19937_64 random(20240611);
  constexpr HashAlgorithm kAlgorithms[] = {
      HashAlgorithm::kSha1, HashAlgorithm::kSha256, HashAlgorithm::kSm3_256,
      HashAlgorithm::kSha512};
  for (int round = 0; round < 40; ++round) {
    std::map<std::string, std::vector<Digest>> model;
    std::vector<std::string> order;
    DigestTable::Builder builder;
    const uint64_t path_count = 1 + random() % 300;
    const uint64_t add_count = random() % 2000;
    const auto random_path = [&] {
      const uint64_t number = random() % path_count;
      return absl::StrCat(std::string(number % 90, '/'), number);
    };
    for (uint64_t i = 0; i < add_count; ++i) {
      const std::string path = random_path();
      const Digest digest = Numbered(random() % 25, kAlgorithms[random() % 4]);
      if (!model.contains(path)) order.push_back(path);
      std::vector<Digest>& digests = model[path];
      if (std::ranges::find(digests, digest) == digests.end()) {
        digests.push_back(digest);
      }
      REQUIRE(builder.Add(path, digest).ok());
    }
    const DigestTable table = std::move(builder).Build();
    Content expected;
    size_t digest_count = 0;
    for (const std::string& path : order) {
      expected.emplace_back(path, model[path]);
      digest_count += model[path].size();
    }
    REQUIRE(Everything(table) == expected);
    REQUIRE(table.path_count() == model.size());
    REQUIRE(table.digest_count() == digest_count);
    for (int i = 0; i < 500; ++i) {
      const std::string path = random_path();
      const Digest digest = Numbered(random() % 25, kAlgorithms[random() % 4]);
      const auto found = model.find(path);
      DigestMatch wanted = DigestMatch::kUnlisted;
      if (found != model.end()) {
        const auto& list = found->second;
        wanted = std::ranges::find(list, digest) == list.end()
                     ? DigestMatch::kMismatch
                     : DigestMatch::kListed;
      }
      REQUIRE(Match(table, path, digest) == wanted);
    }
  }
}

TEST_CASE("10^5 digests stay within the memory budget and a bounded probe") {
  constexpr uint64_t kCount = 100000;
  constexpr size_t kBudget = 40;
  DigestTable::Builder builder;
  const auto path = [](uint64_t i) {
    return absl::StrCat("/usr/lib/package-", i / 10, "/module-", i, ".so");
  };
  for (uint64_t i = 0; i < kCount; ++i) {
    REQUIRE(builder.Add(path(i), Numbered(i)).ok());
  }
  const DigestTable table = std::move(builder).Build();
  REQUIRE(table.digest_count() == kCount);
  CHECK(table.memory_size() - table.payload_size() <= kBudget * kCount);
  CHECK(table.max_probe_count() <= 64);
  for (uint64_t i = 0; i < kCount; i += 97) {
    REQUIRE(Match(table, path(i), Numbered(i)) == DigestMatch::kListed);
    REQUIRE(Match(table, path(i), Numbered(i + 1)) == DigestMatch::kMismatch);
    REQUIRE(Match(table, path(i + kCount), Numbered(i)) ==
            DigestMatch::kUnlisted);
  }
}

}  // namespace
}  // namespace cupel::policy
