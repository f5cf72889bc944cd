#include "common/ima/hashed_data.h"

#include <algorithm>
#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/hex.h"
#include "tests/support/real_lists.h"

namespace cupel::ima {
namespace {

using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::ParseWhole;
using ::cupel::testing::RealList;
using ::cupel::testing::RealLists;

TEST_CASE("the template digest of every real entry is the one it shows",
          "[ima]") {
  size_t checked = 0;
  for (const RealList& list : RealLists()) {
    for (const Entry& entry : ParseWhole(list.binary)) {
      if (entry.IsViolation()) continue;
      CAPTURE(list.name, entry.index);
      CHECK(TemplateDigest(entry, HashAlgorithm::kSha1).Hex() ==
            HexEncode(entry.template_digest));
      ++checked;
    }
  }
  CHECK(checked == 1652);
}

TEST_CASE("the column shows the digest of its bank", "[ima]") {
  const std::vector<uint8_t> data = {1, 2, 3};
  Entry entry;
  entry.template_name = "ima-ng";
  entry.template_data = data;
  for (const HashAlgorithm bank :
       {HashAlgorithm::kSha1, HashAlgorithm::kSha256, HashAlgorithm::kSha384,
        HashAlgorithm::kSha512}) {
    CAPTURE(bank);
    crypto::Digest column = TemplateDigest(entry, bank);
    entry.template_digest = column.bytes();
    CHECK(HasOwnTemplateDigest(entry));
    for (size_t i = 0; i < column.size(); ++i) {
      column.mutable_bytes()[i] ^= 1;
      CHECK_FALSE(HasOwnTemplateDigest(entry));
      column.mutable_bytes()[i] ^= 1;
    }
  }
  // SHA-1 with zeros behind it, where the bank is said to be filled so.
  const HashAlgorithm padded[] = {HashAlgorithm::kSha384};
  crypto::Digest column(HashAlgorithm::kSha384);
  std::ranges::copy(TemplateDigest(entry, HashAlgorithm::kSha1).bytes(),
                    column.mutable_bytes().begin());
  entry.template_digest = column.bytes();
  CHECK_FALSE(HasOwnTemplateDigest(entry));
  CHECK(HasOwnTemplateDigest(entry, padded));
  for (const size_t at : {size_t{0}, size_t{19}, size_t{20}, size_t{47}}) {
    column.mutable_bytes()[at] ^= 1;
    CHECK_FALSE(HasOwnTemplateDigest(entry, padded));
    column.mutable_bytes()[at] ^= 1;
  }
  column = TemplateDigest(entry, HashAlgorithm::kSha384);
  CHECK_FALSE(HasOwnTemplateDigest(entry, padded));

  const std::vector<uint8_t> odd(21);
  entry.template_digest = odd;
  CHECK_FALSE(ExpectedTemplateDigest(entry).has_value());
  CHECK_FALSE(HasOwnTemplateDigest(entry));
}

TEST_CASE("every byte of the template data is hashed", "[ima]") {
  std::vector<uint8_t> data = {1, 2, 3, 4, 5};
  Entry entry;
  entry.template_name = "a-template-that-nobody-knows";
  entry.template_data = data;
  LegacyTemplateBuffer buffer;
  CHECK(HashedTemplateData(entry, buffer).data() == data.data());
  const crypto::Digest before = TemplateDigest(entry, HashAlgorithm::kSha256);
  for (uint8_t& byte : data) {
    byte ^= 1;
    CHECK_FALSE(TemplateDigest(entry, HashAlgorithm::kSha256) == before);
    byte ^= 1;
  }
}

// digest | size | name, as in a record of the template "ima".
std::vector<uint8_t> LegacyData(const std::string& name) {
  std::vector<uint8_t> data(kLegacyDigestSize, 0xab);
  data.resize(kLegacyDigestSize + 4);  // the size, which is not hashed
  data[kLegacyDigestSize] = static_cast<uint8_t>(name.size());
  Append(data, AsBytes(name));
  return data;
}

TEST_CASE("the template \"ima\" hashes digest and padded name", "[ima]") {
  LegacyTemplateBuffer buffer;
  buffer.fill(0xff);  // what an entry before has left
  for (const size_t size : {0U, 1U, 254U, 255U}) {
    CAPTURE(size);
    const std::string name(size, 'n');
    const std::vector<uint8_t> data = LegacyData(name);
    Entry entry;
    entry.template_name = "ima";
    entry.template_data = data;
    std::vector<uint8_t> expected(kLegacyDigestSize, 0xab);
    Append(expected, AsBytes(name));
    expected.resize(20 + 256);
    CHECK(ToVector(HashedTemplateData(entry, buffer)) == expected);
    CHECK(TemplateDigest(entry, HashAlgorithm::kSha1) ==
          crypto::Hash(HashAlgorithm::kSha1, expected));
  }
}

TEST_CASE("an \"ima\" entry that no list holds counts as it is", "[ima]") {
  LegacyTemplateBuffer buffer;
  Entry entry;
  entry.template_name = "ima";
  for (const size_t size : {0U, 20U, 23U, 280U, 300U}) {
    const std::vector<uint8_t> data(size, 7);
    entry.template_data = data;
    CHECK(ToVector(HashedTemplateData(entry, buffer)) == data);
  }
}

}  // namespace
}  // namespace cupel::ima
