#include "common/crypto/public_key.h"

#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/support/status_matchers.h"

namespace cupel::crypto {
namespace {

using absl::StatusCode;
using cupel::testing::IsOk;
using cupel::testing::StatusIs;
using cupel::testing::StatusOf;

// Keys that several tests share, since RSA keys take time to make.
EVP_PKEY* Rsa2048() {
  static const Owned<EVP_PKEY> key(EVP_RSA_gen(2048));
  REQUIRE(key != nullptr);
  return key.get();
}
EVP_PKEY* P256() {
  static const Owned<EVP_PKEY> key(EVP_EC_gen("P-256"));
  REQUIRE(key != nullptr);
  return key.get();
}
EVP_PKEY* P384() {
  static const Owned<EVP_PKEY> key(EVP_EC_gen("P-384"));
  REQUIRE(key != nullptr);
  return key.get();
}

std::string PemOf(EVP_PKEY* key) {
  const Owned<BIO> out(BIO_new(BIO_s_mem()));
  REQUIRE(PEM_write_bio_PUBKEY(out.get(), key) == 1);
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return std::string(text, static_cast<size_t>(size));
}

std::vector<uint8_t> DerOf(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  REQUIRE(size > 0);
  std::vector<uint8_t> bytes(der, der + size);
  OPENSSL_free(der);
  return bytes;
}

std::vector<uint8_t> BignumOf(EVP_PKEY* key, const char* name) {
  BIGNUM* number = nullptr;
  REQUIRE(EVP_PKEY_get_bn_param(key, name, &number) == 1);
  const Owned<BIGNUM> owned(number);
  std::vector<uint8_t> bytes(static_cast<size_t>(BN_num_bytes(number)));
  BN_bn2bin(number, bytes.data());
  return bytes;
}

// A self-signed certificate around `key`, in PEM.
std::string CertificatePem(EVP_PKEY* key) {
  const Owned<X509> certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key);
  REQUIRE(X509_sign(certificate.get(), key, EVP_sha256()) > 0);
  const Owned<BIO> out(BIO_new(BIO_s_mem()));
  REQUIRE(PEM_write_bio_X509(out.get(), certificate.get()) == 1);
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return std::string(text, static_cast<size_t>(size));
}

const char* OpensslName(HashAlgorithm hash) {
  switch (hash) {
    case HashAlgorithm::kSha1:
      return "SHA1";
    case HashAlgorithm::kSha384:
      return "SHA384";
    case HashAlgorithm::kSha512:
      return "SHA512";
    default:
      return "SHA256";
  }
}

constexpr int kNoPss = -100;

std::vector<uint8_t> Sign(EVP_PKEY* key, HashAlgorithm hash,
                          absl::string_view message, int pss_salt = kNoPss) {
  const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* key_context = nullptr;
  REQUIRE(EVP_DigestSignInit_ex(context.get(), &key_context, OpensslName(hash),
                                nullptr, nullptr, key, nullptr) == 1);
  if (pss_salt != kNoPss) {
    REQUIRE(EVP_PKEY_CTX_set_rsa_padding(key_context, RSA_PKCS1_PSS_PADDING) ==
            1);
    REQUIRE(EVP_PKEY_CTX_set_rsa_pss_saltlen(key_context, pss_salt) == 1);
  }
  const std::span<const uint8_t> bytes = AsBytes(message);
  size_t size = 0;
  REQUIRE(EVP_DigestSign(context.get(), nullptr, &size, bytes.data(),
                         bytes.size()) == 1);
  std::vector<uint8_t> signature(size);
  REQUIRE(EVP_DigestSign(context.get(), signature.data(), &size, bytes.data(),
                         bytes.size()) == 1);
  signature.resize(size);
  return signature;
}

PublicKey Key(EVP_PKEY* key) {
  auto parsed = PublicKey::FromDer(DerOf(key));
  REQUIRE_THAT(StatusOf(parsed), IsOk());
  return *std::move(parsed);
}

TEST_CASE("Keys that are fit are read from PEM, DER and certificates") {
  struct Case {
    EVP_PKEY* key;
    KeyType type;
    const char* description;
    int bits;
  };
  const Owned<EVP_PKEY> p521(EVP_EC_gen("P-521"));
  for (const Case& c : std::vector<Case>{
           {Rsa2048(), KeyType::kRsa, "RSA-2048", 2048},
           {P256(), KeyType::kEcP256, "EC P-256", 256},
           {P384(), KeyType::kEcP384, "EC P-384", 384},
           {p521.get(), KeyType::kEcP521, "EC P-521", 521},
       }) {
    CAPTURE(c.description);
    for (const auto& key :
         {PublicKey::FromDer(DerOf(c.key)), PublicKey::FromPem(PemOf(c.key)),
          PublicKey::FromPem(CertificatePem(c.key)),
          PublicKey::FromPem("a text before\n" + PemOf(c.key))}) {
      REQUIRE_THAT(StatusOf(key), IsOk());
      CHECK(key->type() == c.type);
      CHECK(key->Description() == c.description);
      CHECK(key->bits() == c.bits);
      REQUIRE(key->ToPem().ok());
      CHECK(*key->ToPem() == PemOf(c.key));
    }
  }
}

TEST_CASE("In PEM the first key counts, and other blocks are passed over") {
  const Owned<BIO> out(BIO_new(BIO_s_mem()));
  REQUIRE(PEM_write_bio_PKCS8PrivateKey(out.get(), P384(), nullptr, nullptr, 0,
                                        nullptr, nullptr) == 1);
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  const std::string secret(text, static_cast<size_t>(size));
  const auto key =
      PublicKey::FromPem(secret + PemOf(P256()) + PemOf(Rsa2048()));
  REQUIRE_THAT(StatusOf(key), IsOk());
  CHECK(key->type() == KeyType::kEcP256);
  CHECK_THAT(StatusOf(PublicKey::FromPem(secret)),
             StatusIs(StatusCode::kInvalidArgument, "no PEM block"));
}

TEST_CASE("What is no key is refused") {
  const std::vector<uint8_t> der = DerOf(P256());
  for (size_t size = 0; size < der.size(); ++size) {
    CAPTURE(size);
    CHECK_THAT(StatusOf(PublicKey::FromDer(std::span(der).first(size))),
               StatusIs(StatusCode::kInvalidArgument));
  }
  std::vector<uint8_t> longer = der;
  longer.push_back(0);
  CHECK_THAT(StatusOf(PublicKey::FromDer(longer)),
             StatusIs(StatusCode::kInvalidArgument, "left over"));
  for (const std::string& pem :
       {std::string(), std::string("key"),
        PemOf(P256()).substr(0, PemOf(P256()).size() / 2),
        std::string("-----BEGIN PUBLIC KEY-----\nAAAA\n"
                    "-----END PUBLIC KEY-----\n"),
        std::string("-----BEGIN CERTIFICATE-----\nAAAA\n"
                    "-----END CERTIFICATE-----\n")}) {
    CAPTURE(pem);
    CHECK_THAT(StatusOf(PublicKey::FromPem(pem)),
               StatusIs(StatusCode::kInvalidArgument));
  }
}

TEST_CASE("Weak and unknown kinds of keys are refused") {
  const auto refused = [](EVP_PKEY* key, const char* why) {
    REQUIRE(key != nullptr);
    const Owned<EVP_PKEY> owned(key);
    CHECK_THAT(StatusOf(PublicKey::FromDer(DerOf(key))),
               StatusIs(StatusCode::kInvalidArgument, why));
    CHECK_THAT(StatusOf(PublicKey::FromPem(PemOf(key))),
               StatusIs(StatusCode::kInvalidArgument, why));
  };
  refused(EVP_RSA_gen(1024), "1024 bits");
  refused(EVP_RSA_gen(2047), "2047 bits");
  refused(EVP_EC_gen("secp256k1"), "another curve");
  refused(EVP_EC_gen("P-224"), "another curve");
  refused(EVP_EC_gen("brainpoolP256r1"), "another curve");
  refused(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), "neither");
  refused(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519"), "neither");
}

TEST_CASE("A certificate around a weak key is refused") {
  const Owned<EVP_PKEY> weak(EVP_RSA_gen(1024));
  CHECK_THAT(StatusOf(PublicKey::FromPem(CertificatePem(weak.get()))),
             StatusIs(StatusCode::kInvalidArgument, "1024 bits"));
}

TEST_CASE("An RSA key is made from modulus and exponent") {
  const std::vector<uint8_t> modulus =
      BignumOf(Rsa2048(), OSSL_PKEY_PARAM_RSA_N);
  const auto key = PublicKey::FromRsa(modulus, 65537);
  REQUIRE_THAT(StatusOf(key), IsOk());
  CHECK(*key->ToPem() == PemOf(Rsa2048()));
}

TEST_CASE("RSA parameters that make no fit key are refused") {
  std::vector<uint8_t> modulus = BignumOf(Rsa2048(), OSSL_PKEY_PARAM_RSA_N);
  for (const uint32_t exponent : {0u, 1u, 2u, 65536u}) {
    CAPTURE(exponent);
    CHECK_THAT(StatusOf(PublicKey::FromRsa(modulus, exponent)),
               StatusIs(StatusCode::kInvalidArgument));
  }
  CHECK_THAT(StatusOf(PublicKey::FromRsa(std::span(modulus).first(128), 65537)),
             StatusIs(StatusCode::kInvalidArgument));
  CHECK_THAT(StatusOf(PublicKey::FromRsa({}, 65537)),
             StatusIs(StatusCode::kInvalidArgument));
  CHECK_THAT(
      StatusOf(PublicKey::FromRsa(std::vector<uint8_t>(2049, 0xff), 65537)),
      StatusIs(StatusCode::kInvalidArgument, "2049 bytes"));
  modulus.back() &= 0xfe;
  CHECK_THAT(StatusOf(PublicKey::FromRsa(modulus, 65537)),
             StatusIs(StatusCode::kInvalidArgument));
  // 1024 bits, with leading zeros up to 2048.
  std::vector<uint8_t> padded(256, 0);
  padded[128] = 0x80;
  padded[255] = 1;
  CHECK_THAT(StatusOf(PublicKey::FromRsa(padded, 65537)),
             StatusIs(StatusCode::kInvalidArgument, "1024 bits"));
}

// A number about as large as Rsa2048()'s modulus that `divisor`, a prime,
// divides, and no other number below 752.
std::vector<uint8_t> ModulusWithFactor(BN_ULONG divisor) {
  const Owned<BIGNUM> number = *KeyNumber(Rsa2048(), OSSL_PKEY_PARAM_RSA_N);
  REQUIRE(BN_div_word(number.get(), divisor) != static_cast<BN_ULONG>(-1));
  const auto has_small_divisor = [&] {
    for (BN_ULONG other = 2; other < 752; ++other) {
      if (BN_mod_word(number.get(), other) == 0) return true;
    }
    return false;
  };
  while (has_small_divisor()) REQUIRE(BN_sub_word(number.get(), 1) == 1);
  REQUIRE(BN_mul_word(number.get(), divisor) == 1);
  std::vector<uint8_t> bytes(256);
  REQUIRE(BN_bn2binpad(number.get(), bytes.data(),
                       static_cast<int>(bytes.size())) > 0);
  return bytes;
}

TEST_CASE("An RSA modulus with a small factor is refused, each time") {
  for (const BN_ULONG divisor : {2u, 3u, 5u, 743u, 751u}) {
    CHECK_THAT(
        StatusOf(PublicKey::FromRsa(ModulusWithFactor(divisor), 65537)),
        StatusIs(StatusCode::kInvalidArgument, "divides the RSA modulus"));
  }
}

// DER of a key with Rsa2048()'s modulus and an odd exponent of so many bits.
std::vector<uint8_t> DerWithExponent(int bits) {
  const Owned<BIGNUM> n = *KeyNumber(Rsa2048(), OSSL_PKEY_PARAM_RSA_N);
  const Owned<BIGNUM> e(BN_new());
  REQUIRE(BN_set_bit(e.get(), bits - 1) == 1);
  REQUIRE(BN_set_bit(e.get(), 0) == 1);
  const Owned<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
  REQUIRE(OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N,
                                 n.get()) == 1);
  REQUIRE(OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E,
                                 e.get()) == 1);
  const Owned<OSSL_PARAM> params(OSSL_PARAM_BLD_to_param(builder.get()));
  const Owned<EVP_PKEY_CTX> context(
      EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr));
  REQUIRE(EVP_PKEY_fromdata_init(context.get()) == 1);
  EVP_PKEY* key = nullptr;
  REQUIRE(EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY,
                            params.get()) == 1);
  const Owned<EVP_PKEY> owned(key);
  return DerOf(key);
}

TEST_CASE("An RSA exponent is one from 3 to 2^256") {
  for (const int bits : {2, 17, 64, 256}) {
    CAPTURE(bits);
    CHECK_THAT(StatusOf(PublicKey::FromDer(DerWithExponent(bits))), IsOk());
  }
  CHECK_THAT(StatusOf(PublicKey::FromDer(DerWithExponent(257))),
             StatusIs(StatusCode::kInvalidArgument, "exponent"));
}

TEST_CASE("An RSA modulus is judged alike each time") {
  // 757 is the least prime that is not looked for. A random test finds it once
  // in some hundred times.
  const std::vector<uint8_t> modulus = ModulusWithFactor(757);
  const auto once = PublicKey::FromRsa(modulus, 65537);
  REQUIRE_THAT(StatusOf(once), IsOk());
  for (int attempt = 0; attempt < 2000; ++attempt) {
    const auto again = PublicKey::FromRsa(modulus, 65537);
    REQUIRE(again.status() == once.status());
  }
}

TEST_CASE("An EC key is made from a point, short coordinates padded") {
  struct Case {
    EVP_PKEY* key;
    EcCurve curve;
    size_t field;
  };
  for (const Case& c : std::vector<Case>{{P256(), EcCurve::kP256, 32},
                                         {P384(), EcCurve::kP384, 48}}) {
    std::vector<uint8_t> x = BignumOf(c.key, OSSL_PKEY_PARAM_EC_PUB_X);
    std::vector<uint8_t> y = BignumOf(c.key, OSSL_PKEY_PARAM_EC_PUB_Y);
    const auto key = PublicKey::FromEcPoint(c.curve, x, y);
    REQUIRE_THAT(StatusOf(key), IsOk());
    CHECK(*key->ToPem() == PemOf(c.key));
    // The same with all its leading zeros.
    x.insert(x.begin(), c.field - x.size(), 0);
    y.insert(y.begin(), c.field - y.size(), 0);
    const auto padded = PublicKey::FromEcPoint(c.curve, x, y);
    REQUIRE_THAT(StatusOf(padded), IsOk());
    CHECK(*padded->ToPem() == PemOf(c.key));
  }
  // One key in 256 has an x that begins with a zero byte.
  for (int attempt = 0; attempt < 4096; ++attempt) {
    const Owned<EVP_PKEY> key(EVP_EC_gen("P-256"));
    const std::vector<uint8_t> x =
        BignumOf(key.get(), OSSL_PKEY_PARAM_EC_PUB_X);
    if (x.size() == 32) continue;
    const auto parsed = PublicKey::FromEcPoint(
        EcCurve::kP256, x, BignumOf(key.get(), OSSL_PKEY_PARAM_EC_PUB_Y));
    REQUIRE_THAT(StatusOf(parsed), IsOk());
    CHECK(*parsed->ToPem() == PemOf(key.get()));
    return;
  }
  FAIL("no such point among 4096");
}

TEST_CASE("A point that is not on its curve is refused") {
  const std::vector<uint8_t> x = BignumOf(P256(), OSSL_PKEY_PARAM_EC_PUB_X);
  std::vector<uint8_t> y = BignumOf(P256(), OSSL_PKEY_PARAM_EC_PUB_Y);
  y.back() ^= 1;
  CHECK_THAT(StatusOf(PublicKey::FromEcPoint(EcCurve::kP256, x, y)),
             StatusIs(StatusCode::kInvalidArgument));
  y.back() ^= 1;
  CHECK_THAT(StatusOf(PublicKey::FromEcPoint(EcCurve::kP384, x, y)),
             StatusIs(StatusCode::kInvalidArgument));
  CHECK_THAT(StatusOf(PublicKey::FromEcPoint(EcCurve::kP256, {}, {})),
             StatusIs(StatusCode::kInvalidArgument));
  CHECK_THAT(StatusOf(PublicKey::FromEcPoint(
                 EcCurve::kP256, std::vector<uint8_t>(32, 0xff), y)),
             StatusIs(StatusCode::kInvalidArgument));
  CHECK_THAT(StatusOf(PublicKey::FromEcPoint(EcCurve::kP256,
                                             std::vector<uint8_t>(33, 0), y)),
             StatusIs(StatusCode::kInvalidArgument, "33"));
  // In DER too, where the point stands at the end.
  std::vector<uint8_t> der = DerOf(P256());
  der.back() ^= 1;
  CHECK_THAT(StatusOf(PublicKey::FromDer(der)),
             StatusIs(StatusCode::kInvalidArgument));
}

constexpr char kMessage[] = "a message";

struct Signer {
  const char* name;
  EVP_PKEY* key;
  SignatureScheme scheme;
  int pss_salt;
};

std::vector<Signer> Signers() {
  return {
      {"RSASSA", Rsa2048(), SignatureScheme::kRsaPkcs1, kNoPss},
      {"RSAPSS", Rsa2048(), SignatureScheme::kRsaPss, RSA_PSS_SALTLEN_DIGEST},
      {"RSAPSS, longest salt", Rsa2048(), SignatureScheme::kRsaPss,
       RSA_PSS_SALTLEN_MAX},
      {"P-256", P256(), SignatureScheme::kEcdsa, kNoPss},
      {"P-384", P384(), SignatureScheme::kEcdsa, kNoPss},
  };
}

TEST_CASE("A valid signature verifies with every scheme and hash") {
  for (const Signer& signer : Signers()) {
    for (const HashAlgorithm hash :
         {HashAlgorithm::kSha256, HashAlgorithm::kSha384,
          HashAlgorithm::kSha512}) {
      CAPTURE(signer.name, HashAlgorithmName(hash));
      CHECK_THAT(Key(signer.key)
                     .VerifySignature(
                         signer.scheme, hash, AsBytes(kMessage),
                         Sign(signer.key, hash, kMessage, signer.pss_salt)),
                 IsOk());
    }
  }
}

TEST_CASE("A signature is refused if one thing about it changes") {
  for (const Signer& signer : Signers()) {
    CAPTURE(signer.name);
    const PublicKey key = Key(signer.key);
    const HashAlgorithm hash = HashAlgorithm::kSha256;
    const std::vector<uint8_t> good =
        Sign(signer.key, hash, kMessage, signer.pss_salt);
    const auto verify = [&](absl::string_view message,
                            const std::vector<uint8_t>& signature) {
      return key.VerifySignature(signer.scheme, hash, AsBytes(message),
                                 signature);
    };
    REQUIRE_THAT(verify(kMessage, good), IsOk());
    const StatusIs refused(StatusCode::kPermissionDenied, "not valid");
    CHECK_THAT(verify("b message", good), refused);
    CHECK_THAT(verify("a message ", good), refused);
    CHECK_THAT(verify("", good), refused);
    for (size_t i = 0; i < good.size(); ++i) {
      std::vector<uint8_t> bad = good;
      bad[i] ^= 1;
      CHECK_THAT(verify(kMessage, bad), refused);
    }
    for (size_t size = 0; size < good.size(); size += 7) {
      CHECK_THAT(verify(kMessage,
                        {good.begin(), good.begin() + static_cast<long>(size)}),
                 refused);
    }
    std::vector<uint8_t> longer = good;
    longer.push_back(0);
    CHECK_THAT(verify(kMessage, longer), refused);
    CHECK_THAT(key.VerifySignature(signer.scheme, HashAlgorithm::kSha384,
                                   AsBytes(kMessage), good),
               refused);
  }
}

TEST_CASE("Another key's signature is refused") {
  const Owned<EVP_PKEY> other_rsa(EVP_RSA_gen(2048));
  const Owned<EVP_PKEY> other_ec(EVP_EC_gen("P-256"));
  CHECK_THAT(
      Key(Rsa2048()).VerifySignature(
          SignatureScheme::kRsaPkcs1, HashAlgorithm::kSha256, AsBytes(kMessage),
          Sign(other_rsa.get(), HashAlgorithm::kSha256, kMessage)),
      StatusIs(StatusCode::kPermissionDenied));
  CHECK_THAT(
      Key(P256()).VerifySignature(
          SignatureScheme::kEcdsa, HashAlgorithm::kSha256, AsBytes(kMessage),
          Sign(other_ec.get(), HashAlgorithm::kSha256, kMessage)),
      StatusIs(StatusCode::kPermissionDenied));
}

TEST_CASE("RSASSA and RSAPSS are never taken for each other") {
  const PublicKey key = Key(Rsa2048());
  const HashAlgorithm hash = HashAlgorithm::kSha256;
  CHECK_THAT(
      key.VerifySignature(SignatureScheme::kRsaPss, hash, AsBytes(kMessage),
                          Sign(Rsa2048(), hash, kMessage)),
      StatusIs(StatusCode::kPermissionDenied));
  CHECK_THAT(key.VerifySignature(
                 SignatureScheme::kRsaPkcs1, hash, AsBytes(kMessage),
                 Sign(Rsa2048(), hash, kMessage, RSA_PSS_SALTLEN_DIGEST)),
             StatusIs(StatusCode::kPermissionDenied));
}

TEST_CASE("A scheme that does not fit the key is refused") {
  const HashAlgorithm hash = HashAlgorithm::kSha256;
  CHECK_THAT(Key(Rsa2048()).VerifySignature(SignatureScheme::kEcdsa, hash,
                                            AsBytes(kMessage),
                                            Sign(P256(), hash, kMessage)),
             StatusIs(StatusCode::kInvalidArgument, "RSA-2048"));
  for (const SignatureScheme scheme :
       {SignatureScheme::kRsaPkcs1, SignatureScheme::kRsaPss}) {
    CHECK_THAT(Key(P256()).VerifySignature(scheme, hash, AsBytes(kMessage),
                                           Sign(P256(), hash, kMessage)),
               StatusIs(StatusCode::kInvalidArgument, "EC P-256"));
  }
}

TEST_CASE("A signature with a weak or unknown hash is refused") {
  // A good SHA-1 signature: refused for its hash alone.
  for (const Signer& signer : Signers()) {
    CAPTURE(signer.name);
    CHECK_THAT(Key(signer.key)
                   .VerifySignature(signer.scheme, HashAlgorithm::kSha1,
                                    AsBytes(kMessage),
                                    Sign(signer.key, HashAlgorithm::kSha1,
                                         kMessage, signer.pss_salt)),
               StatusIs(StatusCode::kInvalidArgument, "sha1"));
  }
  for (const HashAlgorithm hash :
       {HashAlgorithm::kMd5, HashAlgorithm::kSha224, HashAlgorithm::kSm3_256,
        HashAlgorithm::kSha3_256}) {
    CHECK_THAT(Key(P256()).VerifySignature(
                   SignatureScheme::kEcdsa, hash, AsBytes(kMessage),
                   Sign(P256(), HashAlgorithm::kSha256, kMessage)),
               StatusIs(StatusCode::kInvalidArgument, "not accepted"));
  }
}

TEST_CASE("A TPM's r and s become the DER that verifies") {
  const std::vector<uint8_t> der =
      Sign(P256(), HashAlgorithm::kSha256, kMessage);
  const unsigned char* next = der.data();
  const Owned<ECDSA_SIG> pair(
      d2i_ECDSA_SIG(nullptr, &next, static_cast<long>(der.size())));
  REQUIRE(pair != nullptr);
  // A TPM pads both to the field's size.
  std::vector<uint8_t> r(32);
  std::vector<uint8_t> s(32);
  REQUIRE(BN_bn2binpad(ECDSA_SIG_get0_r(pair.get()), r.data(), 32) == 32);
  REQUIRE(BN_bn2binpad(ECDSA_SIG_get0_s(pair.get()), s.data(), 32) == 32);
  const auto made = EcdsaSignatureToDer(r, s);
  REQUIRE_THAT(StatusOf(made), IsOk());
  CHECK(*made == der);
  CHECK_THAT(Key(P256()).VerifySignature(SignatureScheme::kEcdsa,
                                         HashAlgorithm::kSha256,
                                         AsBytes(kMessage), *made),
             IsOk());
  const auto swapped = EcdsaSignatureToDer(s, r);
  REQUIRE_THAT(StatusOf(swapped), IsOk());
  CHECK_THAT(Key(P256()).VerifySignature(SignatureScheme::kEcdsa,
                                         HashAlgorithm::kSha256,
                                         AsBytes(kMessage), *swapped),
             StatusIs(StatusCode::kPermissionDenied));
}

TEST_CASE("EcdsaSignatureToDer writes minimal positive integers") {
  const std::vector<uint8_t> r = {0, 0, 0x80};
  const std::vector<uint8_t> s = {0x7f};
  CHECK(*EcdsaSignatureToDer(r, s) ==
        std::vector<uint8_t>{0x30, 7, 2, 2, 0, 0x80, 2, 1, 0x7f});
  // Zero is no signature, but it is a number: the check of it refuses it.
  CHECK(*EcdsaSignatureToDer({}, {}) ==
        std::vector<uint8_t>{0x30, 6, 2, 1, 0, 2, 1, 0});
  CHECK_THAT(Key(P256()).VerifySignature(
                 SignatureScheme::kEcdsa, HashAlgorithm::kSha256,
                 AsBytes(kMessage), *EcdsaSignatureToDer({}, {})),
             StatusIs(StatusCode::kPermissionDenied));
}

TEST_CASE("EcdsaSignatureToDer refuses numbers over P-521's size") {
  const std::vector<uint8_t> fits(66, 1);
  const std::vector<uint8_t> too_long(67, 1);
  CHECK_THAT(StatusOf(EcdsaSignatureToDer(fits, fits)), IsOk());
  CHECK_THAT(StatusOf(EcdsaSignatureToDer(too_long, fits)),
             StatusIs(StatusCode::kInvalidArgument));
  CHECK_THAT(StatusOf(EcdsaSignatureToDer(fits, too_long)),
             StatusIs(StatusCode::kInvalidArgument));
}

TEST_CASE("FetchedDigest has the hashes of signatures and banks") {
  for (const HashAlgorithm hash :
       {HashAlgorithm::kSha1, HashAlgorithm::kSha256, HashAlgorithm::kSha384,
        HashAlgorithm::kSha512}) {
    const EVP_MD* const digest = FetchedDigest(hash);
    REQUIRE(digest != nullptr);
    CHECK(static_cast<size_t>(EVP_MD_get_size(digest)) == DigestSize(hash));
    CHECK(FetchedDigest(hash) == digest);
  }
  CHECK(FetchedDigest(HashAlgorithm::kMd5) == nullptr);
  CHECK(FetchedDigest(HashAlgorithm::kSm3_256) == nullptr);
}

}  // namespace
}  // namespace cupel::crypto
