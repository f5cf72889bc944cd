#include "common/tpm/signature.h"

#include <vector>

#include "catch2/catch.hpp"
#include "tests/common/tpm/vectors.h"
#include "tests/support/fake_tpm.h"
#include "tests/support/status_matchers.h"

namespace cupel::tpm {
namespace {

using crypto::HashAlgorithm;
using ::cupel::testing::FakeAkOptions;
using ::cupel::testing::FakeKeyKind;
using ::cupel::testing::FakeTpm;
using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using enum absl::StatusCode;

crypto::PublicKey PemKey(absl::string_view file) {
  return crypto::PublicKey::FromPem(VectorText(file)).value();
}

TEST_CASE("real signatures are read and valid", "[tpm][signature]") {
  struct Case {
    const char* signature;
    const char* message;
    const char* key;
    AlgId scheme;
  };
  const auto c = GENERATE(values<Case>({
      {"quote/q10.sig", "quote/q10.msg", "quote/ak.pem", AlgId::kRsassa},
      {"quote/qall.sig", "quote/qall.msg", "quote/ak.pem", AlgId::kRsassa},
      {"quote/qecc.sig", "quote/qecc.msg", "quote/akecc.pem", AlgId::kEcdsa},
  }));
  CAPTURE(c.signature);
  const std::vector<uint8_t> bytes = Vector(c.signature);
  const auto signature = ParseSignature(bytes);
  REQUIRE_THAT(StatusOf(signature), IsOk());
  CHECK(signature->scheme == c.scheme);
  CHECK(signature->hash == HashAlgorithm::kSha256);
  CHECK(SerializeSignature(*signature) == bytes);
  const crypto::PublicKey key = PemKey(c.key);
  CHECK_THAT(CheckSignature(*signature, key, Vector(c.message)), IsOk());
  std::vector<uint8_t> other = Vector(c.message);
  other.back() ^= 1;
  CHECK_THAT(CheckSignature(*signature, key, other),
             StatusIs(kPermissionDenied));
}

TEST_CASE("every scheme and hash is checked", "[tpm][signature]") {
  const auto options = GENERATE(values<FakeAkOptions>({
      {FakeKeyKind::kRsa2048, AlgId::kRsassa, HashAlgorithm::kSha256},
      {FakeKeyKind::kRsa2048, AlgId::kRsassa, HashAlgorithm::kSha512},
      {FakeKeyKind::kRsa2048, AlgId::kRsapss, HashAlgorithm::kSha256},
      {FakeKeyKind::kRsa2048, AlgId::kRsapss, HashAlgorithm::kSha384},
      {FakeKeyKind::kEcP256, AlgId::kEcdsa, HashAlgorithm::kSha256},
      {FakeKeyKind::kEcP256, AlgId::kEcdsa, HashAlgorithm::kSha512},
      {FakeKeyKind::kEcP384, AlgId::kEcdsa, HashAlgorithm::kSha384},
  }));
  CAPTURE(SignatureAlgorithmName(options.scheme, options.hash));
  const FakeTpm tpm(options);
  const std::vector<uint8_t> message = Hex("0011223344");
  auto signature = ParseSignature(tpm.Sign(message));
  REQUIRE_THAT(StatusOf(signature), IsOk());
  CHECK(signature->scheme == options.scheme);
  CHECK(signature->hash == options.hash);
  const crypto::PublicKey key = *tpm.ak().ToPublicKey();
  CHECK_THAT(CheckSignature(*signature, key, message), IsOk());

  SECTION("another message") {
    CHECK_THAT(CheckSignature(*signature, key, Hex("0011223345")),
               StatusIs(kPermissionDenied));
  }
  SECTION("another key") {
    FakeAkOptions other = options;
    other.key_index = 1;
    CHECK_THAT(
        CheckSignature(*signature, *FakeTpm(other).ak().ToPublicKey(), message),
        StatusIs(kPermissionDenied));
  }
  SECTION("a bit flipped") {
    (signature->scheme == AlgId::kEcdsa ? signature->s : signature->rsa)
        .back() ^= 1;
    CHECK_THAT(CheckSignature(*signature, key, message),
               StatusIs(kPermissionDenied));
  }
  SECTION("another hash claimed") {
    signature->hash = options.hash == HashAlgorithm::kSha256
                          ? HashAlgorithm::kSha384
                          : HashAlgorithm::kSha256;
    CHECK_THAT(CheckSignature(*signature, key, message),
               StatusIs(kPermissionDenied));
  }
}

TEST_CASE("RSASSA and RSAPSS are not taken for one another",
          "[tpm][signature]") {
  const FakeTpm tpm({FakeKeyKind::kRsa2048, AlgId::kRsassa});
  const std::vector<uint8_t> message = Hex("00");
  auto signature = *ParseSignature(tpm.Sign(message));
  signature.scheme = AlgId::kRsapss;
  CHECK_THAT(CheckSignature(signature, *tpm.ak().ToPublicKey(), message),
             StatusIs(kPermissionDenied));
}

TEST_CASE("a scheme of the other kind of key is refused", "[tpm][signature]") {
  const auto ecdsa = *ParseSignature(Vector("quote/qecc.sig"));
  const auto rsassa = *ParseSignature(Vector("quote/q10.sig"));
  const crypto::PublicKey rsa_key = PemKey("quote/ak.pem");
  const crypto::PublicKey ec_key = PemKey("quote/akecc.pem");
  CHECK_THAT(CheckSignature(ecdsa, rsa_key, {}), StatusIs(kInvalidArgument));
  CHECK_THAT(CheckSignature(rsassa, ec_key, {}), StatusIs(kInvalidArgument));
  CHECK(SchemeFitsKey(AlgId::kRsapss, rsa_key));
  CHECK_FALSE(SchemeFitsKey(AlgId::kEcdsa, rsa_key));
  CHECK(SchemeFitsKey(AlgId::kEcdsa, ec_key));
  CHECK_FALSE(SchemeFitsKey(AlgId::kRsassa, ec_key));
}

TEST_CASE("every prefix of a signature and a trailing byte are refused",
          "[tpm][signature]") {
  const auto file =
      GENERATE(values<const char*>({"quote/q10.sig", "quote/qecc.sig"}));
  const std::vector<uint8_t> bytes = Vector(file);
  for (size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(file, size);
    CHECK_THAT(StatusOf(ParseSignature(std::span(bytes).first(size))),
               StatusIs(kInvalidArgument, "signature: "));
  }
  CHECK_THAT(StatusOf(ParseSignature(Concat(bytes, {0}))),
             StatusIs(kInvalidArgument, "1 bytes left over"));
}

TEST_CASE("other schemes, hashes and sizes are refused by name",
          "[tpm][signature]") {
  struct Case {
    const char* hex;
    absl::StatusCode code;
    const char* message;
  };
  const auto c = GENERATE(values<Case>({
      {"0010", kUnimplemented, "scheme null"},
      {"0005000b0020", kUnimplemented, "scheme algorithm 0x0005"},
      {"001a000b0001010001", kUnimplemented, "scheme ecdaa"},
      {"001b000b0001010001", kUnimplemented, "scheme sm2"},
      {"001c000b0001010001", kUnimplemented, "scheme ecschnorr"},
      {"0014000400010a", kUnimplemented, "hash sha1"},
      {"0018001200010a00010b", kUnimplemented, "hash sm3_256"},
      {"0018002700010a00010b", kUnimplemented, "hash sha3_256"},
      {"0014001000010a", kUnimplemented, "hash null"},
      {"0014000b0000", kInvalidArgument, "sig: empty"},
      {"0018000b000000010b", kInvalidArgument, "r: empty"},
      {"0018000b00010a0000", kInvalidArgument, "s: empty"},
      {"0014000bffff", kResourceExhausted, "sig: 65535 bytes"},
      {"0014000b0201", kResourceExhausted, "sig: 513 bytes"},
      {"0018000b0043", kResourceExhausted, "r: 67 bytes"},
      {"0018000b00010affff", kResourceExhausted, "s: 65535 bytes"},
  }));
  CAPTURE(c.hex);
  CHECK_THAT(StatusOf(ParseSignature(Hex(c.hex))), StatusIs(c.code, c.message));
}

TEST_CASE("r or s of zero is not valid", "[tpm][signature]") {
  auto signature = *ParseSignature(Vector("quote/qecc.sig"));
  signature.r.assign(32, 0);
  CHECK_THAT(CheckSignature(signature, PemKey("quote/akecc.pem"),
                            Vector("quote/qecc.msg")),
             StatusIs(kPermissionDenied));
}

}  // namespace
}  // namespace cupel::tpm
