#include "common/tpm/constants.h"

#include "catch2/catch.hpp"

namespace cupel::tpm {
namespace {

using crypto::HashAlgorithm;

TEST_CASE("hash algorithms map to TPM ids and back", "[tpm]") {
  struct Case {
    HashAlgorithm algorithm;
    uint16_t id;
    const char* name;
  };
  const auto c = GENERATE(values<Case>({
      {HashAlgorithm::kSha1, 0x0004, "sha1"},
      {HashAlgorithm::kSha256, 0x000b, "sha256"},
      {HashAlgorithm::kSha384, 0x000c, "sha384"},
      {HashAlgorithm::kSha512, 0x000d, "sha512"},
      {HashAlgorithm::kSm3_256, 0x0012, "sm3_256"},
      {HashAlgorithm::kSha3_256, 0x0027, "sha3_256"},
      {HashAlgorithm::kSha3_384, 0x0028, "sha3_384"},
      {HashAlgorithm::kSha3_512, 0x0029, "sha3_512"},
  }));
  CAPTURE(c.name);
  CHECK(AlgIdFromHash(c.algorithm) == AlgId{c.id});
  CHECK(HashFromAlgId(AlgId{c.id}) == c.algorithm);
  CHECK(AlgIdName(AlgId{c.id}) == c.name);
  CHECK(BankName(c.algorithm) == c.name);
  CHECK(BankFromName(c.name) == c.algorithm);
}

TEST_CASE("hashes that no TPM has get no id", "[tpm]") {
  CHECK(AlgIdFromHash(HashAlgorithm::kMd5) == std::nullopt);
  CHECK(AlgIdFromHash(HashAlgorithm::kSha224) == std::nullopt);
  CHECK(BankName(HashAlgorithm::kSha224) == "sha224");
  CHECK(BankFromName("sha224") == std::nullopt);
}

TEST_CASE("ids that are no hash are not one", "[tpm]") {
  const auto id = GENERATE(0x0000, 0x0001, 0x0006, 0x0010, 0x0014, 0x0018,
                           0x0023, 0x0025, 0x0043, 0xffff);
  CAPTURE(id);
  CHECK(HashFromAlgId(AlgId{static_cast<uint16_t>(id)}) == std::nullopt);
}

TEST_CASE("bank names are taken in the kernel's spelling and upper case",
          "[tpm]") {
  CHECK(BankFromName("SHA256") == HashAlgorithm::kSha256);
  CHECK(BankFromName("sm3") == HashAlgorithm::kSm3_256);
  CHECK(BankFromName("sha3-384") == HashAlgorithm::kSha3_384);
  CHECK(BankFromName("") == std::nullopt);
  CHECK(BankFromName("sha256 ") == std::nullopt);
  CHECK(BankFromName("rsassa") == std::nullopt);
}

TEST_CASE("unknown ids and tags are shown as numbers", "[tpm]") {
  CHECK(AlgIdName(AlgId{0xabc}) == "algorithm 0x0abc");
  CHECK(AlgIdName(AlgId::kRsapss) == "rsapss");
  CHECK(StructureTagName(StructureTag::kAttestCertify) == "certify");
  CHECK(StructureTagName(StructureTag{0x8001}) == "0x8001");
}

TEST_CASE("SHA-1 and hashes that Cupel can't compute are not strong", "[tpm]") {
  CHECK(IsStrongHash(HashAlgorithm::kSha256));
  CHECK(IsStrongHash(HashAlgorithm::kSha384));
  CHECK(IsStrongHash(HashAlgorithm::kSha512));
  CHECK_FALSE(IsStrongHash(HashAlgorithm::kSha1));
  CHECK_FALSE(IsStrongHash(HashAlgorithm::kSha224));
  CHECK_FALSE(IsStrongHash(HashAlgorithm::kSm3_256));
  CHECK_FALSE(IsStrongHash(HashAlgorithm::kSha3_256));
}

}  // namespace
}  // namespace cupel::tpm
