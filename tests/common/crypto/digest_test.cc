#include "common/crypto/digest.h"

#include <set>
#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/hex.h"
#include "tests/support/status_matchers.h"

namespace cupel::crypto {
namespace {

using absl::StatusCode;
using cupel::testing::IsOk;
using cupel::testing::StatusIs;
using cupel::testing::StatusOf;

struct Named {
  HashAlgorithm algorithm;
  const char* name;
  size_t size;
};

// Linux crypto/hash_info.c.
const std::vector<Named> kAll = {
    {HashAlgorithm::kMd4, "md4", 16},
    {HashAlgorithm::kMd5, "md5", 16},
    {HashAlgorithm::kSha1, "sha1", 20},
    {HashAlgorithm::kRmd160, "rmd160", 20},
    {HashAlgorithm::kSha224, "sha224", 28},
    {HashAlgorithm::kSha256, "sha256", 32},
    {HashAlgorithm::kSha384, "sha384", 48},
    {HashAlgorithm::kSha512, "sha512", 64},
    {HashAlgorithm::kWp256, "wp256", 32},
    {HashAlgorithm::kWp384, "wp384", 48},
    {HashAlgorithm::kWp512, "wp512", 64},
    {HashAlgorithm::kSm3_256, "sm3", 32},
    {HashAlgorithm::kStreebog256, "streebog256", 32},
    {HashAlgorithm::kStreebog512, "streebog512", 64},
    {HashAlgorithm::kSha3_256, "sha3-256", 32},
    {HashAlgorithm::kSha3_384, "sha3-384", 48},
    {HashAlgorithm::kSha3_512, "sha3-512", 64},
};

TEST_CASE("Algorithms have the kernel's names and sizes") {
  for (const Named& named : kAll) {
    CAPTURE(named.name);
    CHECK(HashAlgorithmName(named.algorithm) == named.name);
    CHECK(HashAlgorithmFromName(named.name) == named.algorithm);
    CHECK(DigestSize(named.algorithm) == named.size);
    CHECK(named.size <= kMaxDigestSize);
  }
  CHECK(HashAlgorithmFromName("sm3-256") == HashAlgorithm::kSm3_256);
  CHECK(HashAlgorithmFromName("sm3_256") == HashAlgorithm::kSm3_256);
}

TEST_CASE("Other names are no algorithm") {
  for (const char* name :
       {"", "SHA256", "Sha1", "sha-256", "sha256 ", " sha256", "sha2", "sha25",
        "sha2567", "sha3", "ima:sha256", "null"}) {
    CAPTURE(name);
    CHECK_FALSE(HashAlgorithmFromName(name).has_value());
  }
  CHECK_FALSE(HashAlgorithmFromName(absl::string_view("sha256\0", 7)));
}

TEST_CASE("A digest's size alone means SHA-1 or SHA-2") {
  for (size_t size = 0; size <= 70; ++size) {
    CAPTURE(size);
    const auto algorithm = ShaFromDigestSize(size);
    const bool is_sha =
        size == 20 || size == 28 || size == 32 || size == 48 || size == 64;
    CHECK(algorithm.has_value() == is_sha);
    if (algorithm) {
      CHECK(DigestSize(*algorithm) == size);
      CHECK(CanHash(*algorithm));
    }
  }
}

TEST_CASE("A digest has exactly its algorithm's size") {
  for (const Named& named : kAll) {
    CAPTURE(named.name);
    for (size_t size = 0; size <= kMaxDigestSize + 1; ++size) {
      const std::vector<uint8_t> bytes(size, 0xab);
      const auto digest = Digest::Create(named.algorithm, bytes);
      CHECK(digest.ok() == (size == named.size));
      if (digest.ok()) {
        CHECK(ToVector(digest->bytes()) == bytes);
        CHECK(digest->size() == size);
        CHECK(digest->algorithm() == named.algorithm);
      } else {
        CHECK_THAT(StatusOf(digest),
                   StatusIs(StatusCode::kInvalidArgument, named.name));
      }
    }
  }
}

TEST_CASE("Digests are equal only if algorithm and bytes are") {
  for (const Named& a : kAll) {
    for (const Named& b : kAll) {
      CAPTURE(a.name, b.name);
      CHECK((Digest::Filled(a.algorithm, 0x11) ==
             Digest::Filled(b.algorithm, 0x11)) ==
            (a.algorithm == b.algorithm));
    }
  }
  const Digest digest = Digest::Filled(HashAlgorithm::kSha384, 0x11);
  for (size_t i = 0; i < digest.size(); ++i) {
    Digest other = digest;
    other.mutable_bytes()[i] ^= 1;
    CHECK_FALSE(other == digest);
  }
}

TEST_CASE("A SM3 digest never equals a SHA-256 digest of the same bytes") {
  const std::vector<uint8_t> bytes(32, 0x5a);
  const auto sm3 = Digest::Create(HashAlgorithm::kSm3_256, bytes);
  const auto sha256 = Digest::Create(HashAlgorithm::kSha256, bytes);
  REQUIRE_THAT(StatusOf(sm3), IsOk());
  REQUIRE_THAT(StatusOf(sha256), IsOk());
  CHECK(std::ranges::equal(sm3->bytes(), sha256->bytes()));
  CHECK_FALSE(*sm3 == *sha256);
}

TEST_CASE("A digest knows whether it is zero") {
  Digest digest(HashAlgorithm::kSha256);
  CHECK(digest.IsZero());
  CHECK(digest.Hex() == std::string(64, '0'));
  digest.mutable_bytes()[31] = 1;
  CHECK_FALSE(digest.IsZero());
  CHECK(digest.Hex() == std::string(62, '0') + "01");
  CHECK(Digest::Filled(HashAlgorithm::kSha1, 0xff).Hex() ==
        std::string(40, 'f'));
}

struct Answer {
  HashAlgorithm algorithm;
  const char* empty;
  const char* abc;
};

// FIPS 180-4, examples.
const std::vector<Answer> kAnswers = {
    {HashAlgorithm::kSha1, "da39a3ee5e6b4b0d3255bfef95601890afd80709",
     "a9993e364706816aba3e25717850c26c9cd0d89d"},
    {HashAlgorithm::kSha224,
     "d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f",
     "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"},
    {HashAlgorithm::kSha256,
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {HashAlgorithm::kSha384,
     "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da"
     "274edebfe76f65fbd51ad2f14898b95b",
     "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
     "8086072ba1e7cc2358baeca134c825a7"},
    {HashAlgorithm::kSha512,
     "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
     "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
     "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
};

TEST_CASE("Hash gives the known answers") {
  for (const Answer& answer : kAnswers) {
    CAPTURE(HashAlgorithmName(answer.algorithm));
    CHECK(Hash(answer.algorithm, {}).Hex() == answer.empty);
    CHECK(Hash(answer.algorithm, AsBytes("abc")).Hex() == answer.abc);
    CHECK(Hash(answer.algorithm, AsBytes("abc")).algorithm() ==
          answer.algorithm);
    CHECK(Hash(answer.algorithm, {AsBytes("a"), AsBytes(""), AsBytes("bc")})
              .Hex() == answer.abc);
  }
}

TEST_CASE("CanHash names exactly what Hash computes") {
  std::set<HashAlgorithm> known;
  for (const Answer& answer : kAnswers) known.insert(answer.algorithm);
  for (const Named& named : kAll) {
    CAPTURE(named.name);
    CHECK(CanHash(named.algorithm) == (known.count(named.algorithm) == 1));
  }
}

TEST_CASE("Hash agrees over any split of a long message") {
  std::string message;
  for (int i = 0; i < 1000; ++i) message += static_cast<char>(i * 7);
  for (const Answer& answer : kAnswers) {
    const Digest whole = Hash(answer.algorithm, AsBytes(message));
    for (const size_t at : {1u, 55u, 56u, 63u, 64u, 65u, 111u, 128u, 999u}) {
      CAPTURE(at);
      const absl::string_view view = message;
      CHECK(Hash(answer.algorithm, {AsBytes(view.substr(0, at)),
                                    AsBytes(view.substr(at))}) == whole);
      const HashPrefix prefix(answer.algorithm, AsBytes(view.substr(0, at)));
      CHECK(prefix.HashWith(AsBytes(view.substr(at))) == whole);
      // What was hashed before leaves no trace.
      CHECK_FALSE(prefix.HashWith({}) == whole);
      CHECK(prefix.HashWith(AsBytes(view.substr(at))) == whole);
    }
  }
}

TEST_CASE("ExtendPcr hashes the old value and the new") {
  // SHA-256 over 32 zero bytes and 32 bytes of 0xff, and over that and "abc".
  Digest pcr(HashAlgorithm::kSha256);
  ExtendPcr(pcr, Digest::Filled(HashAlgorithm::kSha256, 0xff).bytes());
  std::vector<uint8_t> message(64, 0);
  std::fill(message.begin() + 32, message.end(), uint8_t{0xff});
  CHECK(pcr == Hash(HashAlgorithm::kSha256, message));
  const Digest before = pcr;
  ExtendPcr(pcr, AsBytes("abc"));
  CHECK(pcr == Hash(HashAlgorithm::kSha256, {before.bytes(), AsBytes("abc")}));
  CHECK_FALSE(pcr == before);
}

TEST_CASE("ExtendPcr gives the known answer in every bank") {
  struct Extended {
    HashAlgorithm algorithm;
    const char* hex;
  };
  // Zeros extended with a digest of zeros.
  for (const Extended& extended : std::vector<Extended>{
           {HashAlgorithm::kSha1, "b80de5d138758541c5f05265ad144ab9fa86d1db"},
           {HashAlgorithm::kSha256,
            "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b"},
       }) {
    Digest pcr(extended.algorithm);
    ExtendPcr(pcr, Digest(extended.algorithm).bytes());
    CHECK(pcr.Hex() == extended.hex);
    CHECK(pcr.algorithm() == extended.algorithm);
  }
}

TEST_CASE("A digest as text has its algorithm's name before it") {
  CHECK(Digest::Filled(HashAlgorithm::kSha1, 0xab).ToString() ==
        "sha1:abababababababababababababababababababab");
  CHECK(Digest(HashAlgorithm::kSm3_256).ToString() ==
        "sm3:" + std::string(64, '0'));
}

}  // namespace
}  // namespace cupel::crypto
