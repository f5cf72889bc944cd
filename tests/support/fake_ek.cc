#include "tests/support/fake_ek.h"

#include <openssl/hmac.h>
#include <openssl/rsa.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "common/crypto/public_key.h"
#include "common/tpm/make_credential_internal.h"
#include "common/util/byte_reader.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::testing {
namespace {

using crypto::HashAlgorithm;
using crypto::Owned;

tpm::PublicArea MakeArea(tpm::EkTemplate id, const EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  if (size <= 0) std::abort();
  const std::vector<uint8_t> bytes(der, der + size);
  OPENSSL_free(der);
  auto area = tpm::EkPublicArea(id, crypto::PublicKey::FromDer(bytes).value());
  if (!area.ok()) {
    std::fprintf(stderr, "fake EK: %s\n", area.status().ToString().c_str());
    std::abort();
  }
  return *std::move(area);
}

absl::Status Refused(const char* what) {
  return absl::PermissionDeniedError(what);
}

uint32_t BitsOf(HashAlgorithm hash) {
  return static_cast<uint32_t>(crypto::DigestSize(hash) * 8);
}

// The one TPM2B that `bytes` are.
absl::StatusOr<std::span<const uint8_t>> Unwrap(
    std::span<const uint8_t> bytes) {
  ByteReader reader(bytes, ByteOrder::kBig);
  CUPEL_ASSIGN_OR_RETURN(const auto body, reader.ReadSized16(0xffff, "TPM2B"));
  CUPEL_RETURN_IF_ERROR(reader.ExpectEnd("TPM2B"));
  return body;
}

}  // namespace

FakeEk::FakeEk(tpm::EkTemplate id, FakeKeyKind kind, int key_index)
    : id_(id),
      key_(FakeKeyPair(kind, key_index)),
      area_(MakeArea(id, key_.get())) {}

absl::StatusOr<Secret> FakeEk::RecoverSeed(
    std::span<const uint8_t> encrypted_secret) const {
  CUPEL_ASSIGN_OR_RETURN(const auto wrapped, Unwrap(encrypted_secret));
  const HashAlgorithm hash = area_.name_algorithm;
  const Owned<EVP_PKEY_CTX> context(
      EVP_PKEY_CTX_new_from_pkey(nullptr, key_.get(), nullptr));
  if (area_.type == tpm::AlgId::kRsa) {
    void* const label = OPENSSL_strdup("IDENTITY");
    std::vector<uint8_t> seed(512);
    size_t size = seed.size();
    if (EVP_PKEY_decrypt_init(context.get()) != 1 ||
        EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING) !=
            1 ||
        EVP_PKEY_CTX_set_rsa_oaep_md(context.get(),
                                     crypto::FetchedDigest(hash)) != 1 ||
        EVP_PKEY_CTX_set0_rsa_oaep_label(context.get(), label, 9) != 1 ||
        EVP_PKEY_decrypt(context.get(), seed.data(), &size, wrapped.data(),
                         wrapped.size()) != 1) {
      return Refused("OAEP");
    }
    return Secret(std::span(seed).first(size));
  }
  ByteReader reader(wrapped, ByteOrder::kBig);
  CUPEL_ASSIGN_OR_RETURN(const auto x, reader.ReadSized16(66, "x"));
  CUPEL_ASSIGN_OR_RETURN(const auto y, reader.ReadSized16(66, "y"));
  CUPEL_RETURN_IF_ERROR(reader.ExpectEnd("point"));
  CUPEL_ASSIGN_OR_RETURN(const crypto::PublicKey peer,
                         crypto::PublicKey::FromEcPoint(area_.curve, x, y));
  std::vector<uint8_t> z(area_.x.size());
  size_t size = z.size();
  if (EVP_PKEY_derive_init(context.get()) != 1 ||
      EVP_PKEY_derive_set_peer(context.get(), peer.get()) != 1 ||
      EVP_PKEY_derive(context.get(), z.data(), &size) != 1) {
    return Refused("ECDH");
  }
  return tpm::internal::KdfE(hash, Secret(z), "IDENTITY", x, area_.x,
                             BitsOf(hash));
}

absl::StatusOr<Secret> FakeEk::Activate(
    std::span<const uint8_t> credential_blob,
    std::span<const uint8_t> encrypted_secret,
    std::span<const uint8_t> name) const {
  const HashAlgorithm hash = area_.name_algorithm;
  CUPEL_ASSIGN_OR_RETURN(const Secret seed, RecoverSeed(encrypted_secret));
  CUPEL_ASSIGN_OR_RETURN(const auto body, Unwrap(credential_blob));
  ByteReader reader(body, ByteOrder::kBig);
  CUPEL_ASSIGN_OR_RETURN(const auto mac, reader.ReadSized16(64, "integrity"));
  const std::span<const uint8_t> encrypted = reader.rest();

  CUPEL_ASSIGN_OR_RETURN(
      const Secret mac_key,
      tpm::internal::KdfA(hash, seed, "INTEGRITY", {}, {}, BitsOf(hash)));
  std::vector<uint8_t> authenticated = ToVector(encrypted);
  Append(authenticated, name);
  std::vector<uint8_t> expected(EVP_MAX_MD_SIZE);
  unsigned mac_size = 0;
  if (HMAC(crypto::FetchedDigest(hash), mac_key.Reveal().data(),
           static_cast<int>(mac_key.size()), authenticated.data(),
           authenticated.size(), expected.data(), &mac_size) == nullptr) {
    return Refused("HMAC");
  }
  expected.resize(mac_size);
  if (expected != ToVector(mac)) return Refused("TPM_RC_INTEGRITY");

  const uint16_t bits = area_.symmetric.key_bits;
  CUPEL_ASSIGN_OR_RETURN(
      const Secret key,
      tpm::internal::KdfA(hash, seed, "STORAGE", name, {}, bits));
  const Owned<EVP_CIPHER_CTX> context(EVP_CIPHER_CTX_new());
  const std::vector<uint8_t> iv(16, 0);
  std::vector<uint8_t> plain(encrypted.size());
  int size = 0;
  if (EVP_DecryptInit_ex(
          context.get(),
          bits == 128 ? EVP_aes_128_cfb128() : EVP_aes_256_cfb128(), nullptr,
          key.Reveal().data(), iv.data()) != 1 ||
      EVP_DecryptUpdate(context.get(), plain.data(), &size, encrypted.data(),
                        static_cast<int>(encrypted.size())) != 1) {
    return Refused("AES-CFB");
  }
  CUPEL_ASSIGN_OR_RETURN(const auto secret, Unwrap(plain));
  return Secret(secret);
}

}  // namespace cupel::testing
