#include "common/tpm/make_credential.h"

#include <openssl/hmac.h>
#include <openssl/rsa.h>

#include <memory>
#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "common/crypto/openssl.h"
#include "common/tpm/ek_template.h"
#include "common/tpm/make_credential_internal.h"
#include "common/util/byte_reader.h"
#include "common/util/bytes.h"
#include "tests/common/tpm/vectors.h"
#include "tests/support/fake_tpm.h"
#include "tests/support/status_matchers.h"

namespace cupel::tpm {
namespace {

using crypto::HashAlgorithm;
using ::cupel::testing::FakeKeyKind;
using ::cupel::testing::FakeKeyPair;
using ::cupel::testing::FakeTpm;
using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;

// An EK whose private half the test has.
struct TestEk {
  PublicArea area;
  std::shared_ptr<EVP_PKEY> key;
};

TestEk MakeEk(EkTemplate id, FakeKeyKind kind) {
  TestEk ek{EkTemplateArea(id), FakeKeyPair(kind, 50)};
  const crypto::Owned<BIO> output(BIO_new(BIO_s_mem()));
  REQUIRE(i2d_PUBKEY_bio(output.get(), ek.key.get()) == 1);
  const uint8_t* der = nullptr;
  const long size = BIO_get_mem_data(output.get(), &der);
  ek.area = *EkPublicArea(
      id, *crypto::PublicKey::FromDer({der, static_cast<size_t>(size)}));
  return ek;
}

// Reads a TPM2B and what is in it.
std::vector<uint8_t> Unwrap(ByteReader& reader) {
  const auto bytes = reader.ReadSized16(0xffff, "TPM2B");
  REQUIRE(bytes.ok());
  return ToVector(*bytes);
}

Secret RecoverSeed(const TestEk& ek, const Credential& credential) {
  ByteReader outer(credential.encrypted_secret, ByteOrder::kBig);
  const std::vector<uint8_t> wrapped = Unwrap(outer);
  REQUIRE(outer.empty());
  const crypto::Owned<EVP_PKEY_CTX> context(
      EVP_PKEY_CTX_new_from_pkey(nullptr, ek.key.get(), nullptr));
  if (ek.area.type == AlgId::kRsa) {
    const EVP_MD* const md = crypto::FetchedDigest(ek.area.name_algorithm);
    REQUIRE(EVP_PKEY_decrypt_init(context.get()) == 1);
    REQUIRE(EVP_PKEY_CTX_set_rsa_padding(context.get(),
                                         RSA_PKCS1_OAEP_PADDING) == 1);
    REQUIRE(EVP_PKEY_CTX_set_rsa_oaep_md(context.get(), md) == 1);
    void* const label = OPENSSL_strdup("IDENTITY");
    REQUIRE(EVP_PKEY_CTX_set0_rsa_oaep_label(context.get(), label, 9) == 1);
    std::vector<uint8_t> seed(512);
    size_t size = seed.size();
    REQUIRE(EVP_PKEY_decrypt(context.get(), seed.data(), &size, wrapped.data(),
                             wrapped.size()) == 1);
    seed.resize(size);
    return Secret(seed);
  }
  ByteReader point(wrapped, ByteOrder::kBig);
  const std::vector<uint8_t> x = Unwrap(point);
  const std::vector<uint8_t> y = Unwrap(point);
  REQUIRE(point.empty());
  const auto peer = crypto::PublicKey::FromEcPoint(ek.area.curve, x, y);
  REQUIRE_THAT(StatusOf(peer), IsOk());
  std::vector<uint8_t> z(x.size());
  size_t size = z.size();
  REQUIRE(EVP_PKEY_derive_init(context.get()) == 1);
  REQUIRE(EVP_PKEY_derive_set_peer(context.get(), peer->get()) == 1);
  REQUIRE(EVP_PKEY_derive(context.get(), z.data(), &size) == 1);
  REQUIRE(size == x.size());
  return *internal::KdfE(
      ek.area.name_algorithm, Secret(z), "IDENTITY", x, ek.area.x,
      static_cast<uint32_t>(crypto::DigestSize(ek.area.name_algorithm) * 8));
}

// What the TPM does in TPM2_ActivateCredential; nothing where the HMAC fails.
std::vector<uint8_t> Activate(const TestEk& ek, const Credential& credential,
                              std::span<const uint8_t> name) {
  const HashAlgorithm hash = ek.area.name_algorithm;
  const Secret seed = RecoverSeed(ek, credential);
  ByteReader outer(credential.id_object, ByteOrder::kBig);
  const std::vector<uint8_t> body = Unwrap(outer);
  REQUIRE(outer.empty());
  ByteReader reader(body, ByteOrder::kBig);
  const std::vector<uint8_t> mac = Unwrap(reader);
  const std::vector<uint8_t> encrypted = ToVector(reader.rest());

  const Secret mac_key =
      *internal::KdfA(hash, seed, "INTEGRITY", {}, {},
                      static_cast<uint32_t>(crypto::DigestSize(hash) * 8));
  std::vector<uint8_t> authenticated = encrypted;
  Append(authenticated, name);
  std::vector<uint8_t> expected(EVP_MAX_MD_SIZE);
  unsigned mac_size = 0;
  REQUIRE(HMAC(crypto::FetchedDigest(hash), mac_key.Reveal().data(),
               static_cast<int>(mac_key.size()), authenticated.data(),
               authenticated.size(), expected.data(), &mac_size) != nullptr);
  expected.resize(mac_size);
  if (expected != mac) return {};

  const uint16_t bits = ek.area.symmetric.key_bits;
  const Secret key = *internal::KdfA(hash, seed, "STORAGE", name, {}, bits);
  const crypto::Owned<EVP_CIPHER_CTX> context(EVP_CIPHER_CTX_new());
  const std::vector<uint8_t> iv(16, 0);
  std::vector<uint8_t> plain(encrypted.size());
  int size = 0;
  REQUIRE(EVP_DecryptInit_ex(
              context.get(),
              bits == 128 ? EVP_aes_128_cfb128() : EVP_aes_256_cfb128(),
              nullptr, key.Reveal().data(), iv.data()) == 1);
  REQUIRE(EVP_DecryptUpdate(context.get(), plain.data(), &size,
                            encrypted.data(),
                            static_cast<int>(encrypted.size())) == 1);
  ByteReader secret(plain, ByteOrder::kBig);
  const std::vector<uint8_t> recovered = Unwrap(secret);
  REQUIRE(secret.empty());
  return recovered;
}

TEST_CASE("what MakeCredential wraps, the EK unwraps", "[tpm][credential]") {
  struct Case {
    EkTemplate id;
    FakeKeyKind kind;
    size_t max_secret;
  };
  const auto c = GENERATE(values<Case>({
      {EkTemplate::kL1, FakeKeyKind::kRsa2048, 32},
      {EkTemplate::kL2, FakeKeyKind::kEcP256, 32},
      {EkTemplate::kH3, FakeKeyKind::kEcP384, 48},
  }));
  CAPTURE(EkTemplateName(c.id));
  const TestEk ek = MakeEk(c.id, c.kind);
  const std::vector<uint8_t> name = FakeTpm().ak().Name();
  const std::vector<uint8_t> bytes(c.max_secret, 0x5a);
  const Secret secret(bytes);

  const auto credential = MakeCredential(ek.area, name, secret);
  REQUIRE_THAT(StatusOf(credential), IsOk());
  CHECK(Activate(ek, *credential, name) == bytes);

  SECTION("for another object it is worthless") {
    const std::vector<uint8_t> other = FakeTpm({.key_index = 1}).ak().Name();
    CHECK(Activate(ek, *credential, other).empty());
  }
  SECTION("each is different") {
    const auto again = MakeCredential(ek.area, name, secret);
    REQUIRE_THAT(StatusOf(again), IsOk());
    CHECK_FALSE(again->id_object == credential->id_object);
    CHECK_FALSE(again->encrypted_secret == credential->encrypted_secret);
  }
  SECTION("one byte is enough") {
    const auto small = MakeCredential(ek.area, name, Secret(Hex("42")));
    REQUIRE_THAT(StatusOf(small), IsOk());
    CHECK(Activate(ek, *small, name) == Hex("42"));
  }
  SECTION("a secret that the TPM would refuse is refused") {
    const std::vector<uint8_t> longer(c.max_secret + 1, 1);
    CHECK_THAT(StatusOf(MakeCredential(ek.area, name, Secret(longer))),
               StatusIs(absl::StatusCode::kInvalidArgument, "secret of"));
    CHECK_THAT(StatusOf(MakeCredential(ek.area, name, Secret())),
               StatusIs(absl::StatusCode::kInvalidArgument, "secret of 0"));
  }
}

TEST_CASE("keys that are no EK are refused", "[tpm][credential]") {
  struct Case {
    const char* description;
    void (*change)(PublicArea&);
    const char* message;
  };
  const auto c = GENERATE(values<Case>({
      {"unrestricted", [](PublicArea& a) { a.attributes &= ~kAttrRestricted; },
       "restricted decryption"},
      {"signs alone", [](PublicArea& a) { a.attributes &= ~kAttrDecrypt; },
       "restricted decryption"},
      {"SHA-1 name",
       [](PublicArea& a) { a.name_algorithm = HashAlgorithm::kSha1; },
       "name algorithm is sha1"},
      {"no cipher", [](PublicArea& a) { a.symmetric = SymmetricDefinition(); },
       "cipher is null"},
      {"AES-192", [](PublicArea& a) { a.symmetric.key_bits = 192; },
       "cipher is aes-192-cfb"},
      {"CTR", [](PublicArea& a) { a.symmetric.mode = AlgId::kCtr; },
       "cipher is aes-128-ctr"},
  }));
  CAPTURE(c.description);
  const auto file =
      GENERATE(values<const char*>({"quote/ek.pub", "quote/ekecc.pub"}));
  PublicArea ek = *ParseTpm2bPublic(Vector(file));
  const std::vector<uint8_t> name = FakeTpm().ak().Name();
  const Secret secret(Hex("00"));
  REQUIRE_THAT(StatusOf(MakeCredential(ek, name, secret)), IsOk());
  c.change(ek);
  CHECK_THAT(StatusOf(MakeCredential(ek, name, secret)),
             StatusIs(absl::StatusCode::kInvalidArgument, c.message));
}

TEST_CASE("an invalid point and an invalid name are refused",
          "[tpm][credential]") {
  PublicArea ek = *ParseTpm2bPublic(Vector("quote/ekecc.pub"));
  const std::vector<uint8_t> name = FakeTpm().ak().Name();
  CHECK_THAT(StatusOf(MakeCredential(ek, Hex("000b00"), Secret(Hex("00")))),
             StatusIs(absl::StatusCode::kInvalidArgument, "name"));
  ek.x[5] ^= 1;
  CHECK_THAT(StatusOf(MakeCredential(ek, name, Secret(Hex("00")))),
             StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_CASE("with a fixed ephemeral key the bytes are fixed",
          "[tpm][credential]") {
  const PublicArea ek = *ParseTpm2bPublic(Vector("quote/ekecc.pub"));
  const std::vector<uint8_t> name = FakeTpm().ak().Name();
  const std::vector<uint8_t> number(32, 0x11);
  const auto key = internal::EcKeyFromPrivate(crypto::EcCurve::kP256, number);
  REQUIRE_THAT(StatusOf(key), IsOk());
  const auto once = internal::MakeCredentialWithEphemeral(
      ek, name, Secret(Hex("42")), key->get());
  const auto again = internal::MakeCredentialWithEphemeral(
      ek, name, Secret(Hex("42")), key->get());
  REQUIRE_THAT(StatusOf(once), IsOk());
  REQUIRE_THAT(StatusOf(again), IsOk());
  CHECK(once->id_object == again->id_object);
  CHECK(once->encrypted_secret == again->encrypted_secret);

  const std::vector<uint8_t> file = SerializeCredentialFile(*once);
  CHECK(file == Concat(Concat(Hex("badcc0de00000001"), once->id_object),
                       once->encrypted_secret));
}

TEST_CASE("an ephemeral key out of range or on another curve is refused",
          "[tpm][credential]") {
  const std::vector<uint8_t> zero(32, 0);
  const std::vector<uint8_t> huge(32, 0xff);
  CHECK_THAT(StatusOf(internal::EcKeyFromPrivate(crypto::EcCurve::kP256, zero)),
             StatusIs(absl::StatusCode::kInvalidArgument));
  CHECK_THAT(StatusOf(internal::EcKeyFromPrivate(crypto::EcCurve::kP256, huge)),
             StatusIs(absl::StatusCode::kInvalidArgument));
  const PublicArea ek = *ParseTpm2bPublic(Vector("quote/ekecc.pub"));
  const auto p384 =
      internal::EcKeyFromPrivate(crypto::EcCurve::kP384, Hex("42"));
  REQUIRE_THAT(StatusOf(p384), IsOk());
  CHECK_FALSE(internal::MakeCredentialWithEphemeral(
                  ek, FakeTpm().ak().Name(), Secret(Hex("42")), p384->get())
                  .ok());
}

// SP 800-108 in counter mode with HMAC-SHA-256: with one block, KDFa is one
// HMAC over counter, label, zero, contexts and size.
TEST_CASE("KDFa is the HMAC that it says it is", "[tpm][credential]") {
  const Secret key(Hex("000102030405060708090a0b0c0d0e0f"));
  const std::vector<uint8_t> message =
      Hex("00000001"      // counter
          "4c4142454c00"  // "LABEL", zero
          "aabb"          // contextU
          "cc"            // contextV
          "00000180");    // 384 bits
  std::vector<uint8_t> first(32);
  std::vector<uint8_t> second(32);
  std::vector<uint8_t> message2 = message;
  message2[3] = 2;
  unsigned size = 0;
  HMAC(EVP_sha256(), key.Reveal().data(), 16, message.data(), message.size(),
       first.data(), &size);
  HMAC(EVP_sha256(), key.Reveal().data(), 16, message2.data(), message2.size(),
       second.data(), &size);
  std::vector<uint8_t> expected = Concat(first, second);
  expected.resize(48);
  const auto derived = internal::KdfA(HashAlgorithm::kSha256, key, "LABEL",
                                      Hex("aabb"), Hex("cc"), 384);
  REQUIRE_THAT(StatusOf(derived), IsOk());
  CHECK(ToVector(derived->Reveal()) == expected);
}

TEST_CASE("KDFe is the hash that it says it is", "[tpm][credential]") {
  const Secret z(Hex("0102030405060708"));
  const auto block = [](uint8_t counter) {
    const std::vector<uint8_t> message =
        Concat({0, 0, 0, counter}, Hex("0102030405060708"
                                       "4c4142454c00"
                                       "aabb"
                                       "cc"));
    return ToVector(crypto::Hash(HashAlgorithm::kSha256, message).bytes());
  };
  std::vector<uint8_t> expected = Concat(block(1), block(2));
  expected.resize(40);
  const auto derived = internal::KdfE(HashAlgorithm::kSha256, z, "LABEL",
                                      Hex("aabb"), Hex("cc"), 320);
  REQUIRE_THAT(StatusOf(derived), IsOk());
  CHECK(ToVector(derived->Reveal()) == expected);
  CHECK_THAT(StatusOf(internal::KdfE(HashAlgorithm::kSm3_256, z, "LABEL", {},
                                     {}, 256)),
             StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace cupel::tpm
