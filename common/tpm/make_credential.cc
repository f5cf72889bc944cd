#include "common/tpm/make_credential.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/crypto/digest.h"
#include "common/crypto/openssl.h"
#include "common/tpm/constants.h"
#include "common/tpm/make_credential_internal.h"
#include "common/tpm/marshal.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::tpm {
namespace internal {
namespace {

using crypto::HashAlgorithm;
using crypto::OpensslError;
using crypto::Owned;

constexpr absl::string_view kIdentityLabel = "IDENTITY";
constexpr absl::string_view kStorageLabel = "STORAGE";
constexpr absl::string_view kIntegrityLabel = "INTEGRITY";
constexpr uint32_t kFileMagic = 0xbadcc0de;
constexpr uint32_t kFileVersion = 1;

const char* GroupName(crypto::EcCurve curve) {
  return curve == crypto::EcCurve::kP256 ? "P-256" : "P-384";
}
int GroupNid(crypto::EcCurve curve) {
  return curve == crypto::EcCurve::kP256 ? NID_X9_62_prime256v1 : NID_secp384r1;
}

// A buffer that is wiped: what OpenSSL writes a secret into.
class SecretBuffer {
 public:
  explicit SecretBuffer(size_t size) : bytes_(size) {}
  SecretBuffer(const SecretBuffer&) = delete;
  SecretBuffer& operator=(const SecretBuffer&) = delete;
  ~SecretBuffer() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

  uint8_t* data() { return bytes_.data(); }
  size_t size() const { return bytes_.size(); }
  std::span<uint8_t> bytes() { return bytes_; }
  Secret ToSecret() const { return Secret(bytes_); }

 private:
  std::vector<uint8_t> bytes_;
};

// Label, its zero byte, both contexts: what both KDFs put behind the counter.
std::vector<uint8_t> KdfInput(absl::string_view label,
                              std::span<const uint8_t> u,
                              std::span<const uint8_t> v) {
  std::vector<uint8_t> input = ToVector(AsBytes(label));
  input.push_back(0);
  Append(input, u);
  Append(input, v);
  return input;
}

absl::StatusOr<std::vector<uint8_t>> Hmac(HashAlgorithm hash, const Secret& key,
                                          std::span<const uint8_t> message) {
  std::vector<uint8_t> mac(crypto::DigestSize(hash));
  unsigned size = 0;
  if (HMAC(crypto::FetchedDigest(hash), key.Reveal().data(),
           static_cast<int>(key.size()), message.data(), message.size(),
           mac.data(), &size) == nullptr ||
      size != mac.size()) {
    return OpensslError("HMAC");
  }
  return mac;
}

// With an IV of zeros: every key encrypts one message (Part 1, 24.4).
absl::StatusOr<std::vector<uint8_t>> EncryptAesCfb(
    uint16_t key_bits, const Secret& key, std::span<const uint8_t> plain) {
  constexpr std::array<uint8_t, 16> kIv = {};
  const EVP_CIPHER* const cipher =
      key_bits == 128 ? EVP_aes_128_cfb128() : EVP_aes_256_cfb128();
  const Owned<EVP_CIPHER_CTX> context(EVP_CIPHER_CTX_new());
  std::vector<uint8_t> out(plain.size());
  int size = 0;
  if (!context ||
      EVP_EncryptInit_ex(context.get(), cipher, nullptr, key.Reveal().data(),
                         kIv.data()) != 1 ||
      EVP_EncryptUpdate(context.get(), out.data(), &size, plain.data(),
                        static_cast<int>(plain.size())) != 1 ||
      static_cast<size_t>(size) != out.size()) {
    return OpensslError("AES-CFB");
  }
  return out;
}

absl::Status CheckArguments(const PublicArea& ek, std::span<const uint8_t> name,
                            const Secret& secret) {
  if ((ek.attributes & kAttrRestricted) == 0 ||
      (ek.attributes & kAttrDecrypt) == 0) {
    return absl::InvalidArgumentError(
        "MakeCredential: the EK is not a restricted decryption key");
  }
  if (!IsStrongHash(ek.name_algorithm)) {
    return absl::InvalidArgumentError(
        absl::StrCat("MakeCredential: the EK's name algorithm is ",
                     BankName(ek.name_algorithm)));
  }
  if (ek.symmetric.algorithm != AlgId::kAes ||
      ek.symmetric.mode != AlgId::kCfb ||
      (ek.symmetric.key_bits != 128 && ek.symmetric.key_bits != 256)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "MakeCredential: the EK's cipher is ",
        AlgIdName(ek.symmetric.algorithm), "-", ek.symmetric.key_bits, "-",
        AlgIdName(ek.symmetric.mode), ", expected aes-128-cfb or aes-256-cfb"));
  }
  if (secret.size() == 0 ||
      secret.size() > crypto::DigestSize(ek.name_algorithm)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "MakeCredential: a secret of ", secret.size(), " bytes; 1 to ",
        crypto::DigestSize(ek.name_algorithm), " fit"));
  }
  // Refuses what is not a name.
  return QualifiedName({}, name).status();
}

// The x coordinate that both keys agree on.
absl::StatusOr<Secret> SharedX(EVP_PKEY* own, EVP_PKEY* peer, size_t field) {
  const Owned<EVP_PKEY_CTX> context(
      EVP_PKEY_CTX_new_from_pkey(nullptr, own, nullptr));
  SecretBuffer z(field);
  size_t size = z.size();
  if (!context || EVP_PKEY_derive_init(context.get()) != 1 ||
      EVP_PKEY_derive_set_peer(context.get(), peer) != 1 ||
      EVP_PKEY_derive(context.get(), z.data(), &size) != 1 ||
      size != z.size()) {
    return OpensslError("ECDH");
  }
  return z.ToSecret();
}

// RSAES-OAEP with the EK's name algorithm and the label, zero byte included.
absl::StatusOr<std::vector<uint8_t>> EncryptSeed(EVP_PKEY* ek,
                                                 HashAlgorithm hash,
                                                 const Secret& seed) {
  const Owned<EVP_PKEY_CTX> context(
      EVP_PKEY_CTX_new_from_pkey(nullptr, ek, nullptr));
  // OpenSSL takes the label over, so it must be its own allocation.
  const size_t label_size = kIdentityLabel.size() + 1;
  void* const label = OPENSSL_zalloc(label_size);
  if (label == nullptr) return absl::ResourceExhaustedError("OAEP label");
  std::ranges::copy(kIdentityLabel, static_cast<char*>(label));
  if (!context || EVP_PKEY_encrypt_init(context.get()) != 1 ||
      EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING) !=
          1 ||
      EVP_PKEY_CTX_set_rsa_oaep_md(context.get(),
                                   crypto::FetchedDigest(hash)) != 1 ||
      EVP_PKEY_CTX_set_rsa_mgf1_md(context.get(),
                                   crypto::FetchedDigest(hash)) != 1 ||
      EVP_PKEY_CTX_set0_rsa_oaep_label(context.get(), label,
                                       static_cast<int>(label_size)) != 1) {
    OPENSSL_free(label);
    return OpensslError("RSA-OAEP");
  }
  size_t size = 0;
  if (EVP_PKEY_encrypt(context.get(), nullptr, &size, seed.Reveal().data(),
                       seed.size()) != 1) {
    return OpensslError("RSA-OAEP");
  }
  std::vector<uint8_t> out(size);
  if (EVP_PKEY_encrypt(context.get(), out.data(), &size, seed.Reveal().data(),
                       seed.size()) != 1) {
    return OpensslError("RSA-OAEP");
  }
  out.resize(size);
  return out;
}

absl::StatusOr<Credential> MakeRsaCredential(const PublicArea& ek,
                                             std::span<const uint8_t> name,
                                             const Secret& secret) {
  CUPEL_ASSIGN_OR_RETURN(const crypto::PublicKey key, ek.ToPublicKey());
  SecretBuffer buffer(crypto::DigestSize(ek.name_algorithm));
  if (RAND_bytes(buffer.data(), static_cast<int>(buffer.size())) != 1) {
    return OpensslError("RAND_bytes");
  }
  const Secret seed = buffer.ToSecret();
  Credential credential;
  CUPEL_ASSIGN_OR_RETURN(credential.id_object,
                         ProtectSecret(ek, name, seed, secret));
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> encrypted,
                         EncryptSeed(key.get(), ek.name_algorithm, seed));
  AppendSized16(credential.encrypted_secret, encrypted);
  return credential;
}

}  // namespace

absl::StatusOr<Secret> KdfA(HashAlgorithm hash, const Secret& key,
                            absl::string_view label,
                            std::span<const uint8_t> context_u,
                            std::span<const uint8_t> context_v, uint32_t bits) {
  const std::vector<uint8_t> input = KdfInput(label, context_u, context_v);
  SecretBuffer out(bits / 8);
  size_t filled = 0;
  for (uint32_t counter = 1; filled < out.size(); ++counter) {
    std::vector<uint8_t> message;
    AppendBe(message, counter);
    Append(message, input);
    AppendBe(message, bits);
    CUPEL_ASSIGN_OR_RETURN(std::vector<uint8_t> block,
                           Hmac(hash, key, message));
    const size_t size = std::min(block.size(), out.size() - filled);
    std::copy_n(block.begin(), size, out.bytes().subspan(filled).begin());
    OPENSSL_cleanse(block.data(), block.size());
    filled += size;
  }
  return out.ToSecret();
}

absl::StatusOr<Secret> KdfE(HashAlgorithm hash, const Secret& z,
                            absl::string_view label,
                            std::span<const uint8_t> party_u,
                            std::span<const uint8_t> party_v, uint32_t bits) {
  if (!crypto::CanHash(hash)) {
    return absl::InvalidArgumentError(
        absl::StrCat("KDFe with ", BankName(hash)));
  }
  const std::vector<uint8_t> input = KdfInput(label, party_u, party_v);
  SecretBuffer out(bits / 8);
  size_t filled = 0;
  for (uint32_t counter = 1; filled < out.size(); ++counter) {
    std::vector<uint8_t> prefix;
    AppendBe(prefix, counter);
    crypto::Digest block = crypto::Hash(hash, {prefix, z.Reveal(), input});
    const size_t size = std::min(block.size(), out.size() - filled);
    std::copy_n(block.bytes().begin(), size,
                out.bytes().subspan(filled).begin());
    OPENSSL_cleanse(block.mutable_bytes().data(), block.size());
    filled += size;
  }
  return out.ToSecret();
}

absl::StatusOr<std::vector<uint8_t>> ProtectSecret(
    const PublicArea& ek, std::span<const uint8_t> name, const Secret& seed,
    const Secret& secret) {
  CUPEL_RETURN_IF_ERROR(CheckArguments(ek, name, secret));
  const HashAlgorithm hash = ek.name_algorithm;
  CUPEL_ASSIGN_OR_RETURN(
      const Secret cipher_key,
      KdfA(hash, seed, kStorageLabel, name, {}, ek.symmetric.key_bits));
  SecretBuffer plain(2 + secret.size());
  plain.bytes()[0] = static_cast<uint8_t>(secret.size() >> 8);
  plain.bytes()[1] = static_cast<uint8_t>(secret.size());
  std::ranges::copy(secret.Reveal(), plain.bytes().subspan(2).begin());
  CUPEL_ASSIGN_OR_RETURN(
      const std::vector<uint8_t> encrypted,
      EncryptAesCfb(ek.symmetric.key_bits, cipher_key, plain.bytes()));

  CUPEL_ASSIGN_OR_RETURN(
      const Secret mac_key,
      KdfA(hash, seed, kIntegrityLabel, {}, {},
           static_cast<uint32_t>(crypto::DigestSize(hash) * 8)));
  std::vector<uint8_t> authenticated = encrypted;
  Append(authenticated, name);
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> mac,
                         Hmac(hash, mac_key, authenticated));

  std::vector<uint8_t> body;
  AppendSized16(body, mac);
  Append(body, encrypted);
  std::vector<uint8_t> id_object;
  AppendSized16(id_object, body);
  return id_object;
}

absl::StatusOr<Owned<EVP_PKEY>> EcKeyFromPrivate(
    crypto::EcCurve curve, std::span<const uint8_t> private_number) {
  const Owned<BIGNUM> number(BN_bin2bn(
      private_number.data(), static_cast<int>(private_number.size()), nullptr));
  const std::unique_ptr<EC_GROUP, crypto::OpensslDeleter<EC_GROUP_free>> group(
      EC_GROUP_new_by_curve_name(GroupNid(curve)));
  if (!number || !group) return OpensslError("EC group");
  if (BN_is_zero(number.get()) == 1 ||
      BN_cmp(number.get(), EC_GROUP_get0_order(group.get())) >= 0) {
    return absl::InvalidArgumentError("EC private key out of range");
  }
  const std::unique_ptr<EC_POINT, crypto::OpensslDeleter<EC_POINT_free>> point(
      EC_POINT_new(group.get()));
  std::vector<uint8_t> encoded(1 + 2 * EcFieldSize(curve));
  if (!point ||
      EC_POINT_mul(group.get(), point.get(), number.get(), nullptr, nullptr,
                   nullptr) != 1 ||
      EC_POINT_point2oct(group.get(), point.get(),
                         POINT_CONVERSION_UNCOMPRESSED, encoded.data(),
                         encoded.size(), nullptr) != encoded.size()) {
    return OpensslError("EC point");
  }
  const Owned<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
  if (!builder ||
      OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME,
                                      GroupName(curve), 0) != 1 ||
      OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY,
                                       encoded.data(), encoded.size()) != 1 ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_PRIV_KEY,
                             number.get()) != 1) {
    return OpensslError("EC key");
  }
  const Owned<OSSL_PARAM> params(OSSL_PARAM_BLD_to_param(builder.get()));
  const Owned<EVP_PKEY_CTX> context(
      EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* key = nullptr;
  if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_KEYPAIR, params.get()) !=
          1) {
    return OpensslError("EC key");
  }
  return Owned<EVP_PKEY>(key);
}

absl::StatusOr<Credential> MakeCredentialWithEphemeral(
    const PublicArea& ek, std::span<const uint8_t> name, const Secret& secret,
    EVP_PKEY* ephemeral) {
  if (ek.type != AlgId::kEcc) {
    return absl::InvalidArgumentError(
        "MakeCredential: the EK is not an ECC key");
  }
  CUPEL_ASSIGN_OR_RETURN(const crypto::PublicKey key, ek.ToPublicKey());
  const size_t field = EcFieldSize(ek.curve);
  CUPEL_ASSIGN_OR_RETURN(const Secret z, SharedX(ephemeral, key.get(), field));
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> x,
                         KeyNumber(ephemeral, OSSL_PKEY_PARAM_EC_PUB_X, field));
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> y,
                         KeyNumber(ephemeral, OSSL_PKEY_PARAM_EC_PUB_Y, field));
  // The EK's coordinate padded to the field's size, however its area has it.
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> ek_x,
                         KeyNumber(key.get(), OSSL_PKEY_PARAM_EC_PUB_X, field));
  CUPEL_ASSIGN_OR_RETURN(
      const Secret seed,
      KdfE(ek.name_algorithm, z, kIdentityLabel, x, ek_x,
           static_cast<uint32_t>(crypto::DigestSize(ek.name_algorithm) * 8)));
  Credential credential;
  CUPEL_ASSIGN_OR_RETURN(credential.id_object,
                         ProtectSecret(ek, name, seed, secret));
  std::vector<uint8_t> point;
  AppendSized16(point, x);
  AppendSized16(point, y);
  AppendSized16(credential.encrypted_secret, point);
  return credential;
}

}  // namespace internal

absl::StatusOr<Credential> MakeCredential(const PublicArea& ek,
                                          std::span<const uint8_t> name,
                                          const Secret& secret) {
  CUPEL_RETURN_IF_ERROR(internal::CheckArguments(ek, name, secret));
  if (ek.type == AlgId::kRsa) {
    return internal::MakeRsaCredential(ek, name, secret);
  }
  const crypto::Owned<EVP_PKEY> ephemeral(
      EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", internal::GroupName(ek.curve)));
  if (!ephemeral) return crypto::OpensslError("making an EC key");
  return internal::MakeCredentialWithEphemeral(ek, name, secret,
                                               ephemeral.get());
}

std::vector<uint8_t> SerializeCredentialFile(const Credential& credential) {
  std::vector<uint8_t> out;
  AppendBe(out, internal::kFileMagic);
  AppendBe(out, internal::kFileVersion);
  Append(out, credential.id_object);
  Append(out, credential.encrypted_secret);
  return out;
}

}  // namespace cupel::tpm
