#include "verifier/enrollment/cookie.h"

#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/crypto/digest.h"
#include "common/crypto/openssl.h"
#include "common/crypto/public_key.h"
#include "common/util/byte_reader.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::verifier {
namespace {

using crypto::HashAlgorithm;
using crypto::OpensslError;
using crypto::Owned;

constexpr uint8_t kVersion = 2;
constexpr absl::string_view kKeyIdLabel = "cupel-cookie-key-id";
constexpr absl::string_view kKeyLabel = "cupel-cookie-v2";
constexpr size_t kKeyIdSize = 8;
constexpr size_t kHeaderSize = 1 + kKeyIdSize + kCookieNonceSize;
constexpr size_t kTagSize = 16;
constexpr std::array<uint8_t, 12> kIv = {};

absl::Status NotOurs() {
  return absl::PermissionDeniedError(
      "enrolment: the cookie is not one of this verifier's; begin again");
}

absl::StatusOr<Secret> RandomKey() {
  std::array<uint8_t, kCookieKeySize> bytes{};
  if (RAND_priv_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
    return OpensslError("RAND_priv_bytes");
  }
  Secret key(bytes);
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return key;
}

absl::StatusOr<Secret> CookieKey(const Secret& key,
                                 std::span<const uint8_t> nonce) {
  std::vector<uint8_t> message = ToVector(AsBytes(kKeyLabel));
  Append(message, nonce);
  std::array<uint8_t, kCookieKeySize> mac{};
  unsigned size = 0;
  if (HMAC(crypto::FetchedDigest(HashAlgorithm::kSha256), key.Reveal().data(),
           static_cast<int>(key.size()), message.data(), message.size(),
           mac.data(), &size) == nullptr ||
      size != mac.size()) {
    return OpensslError("HMAC");
  }
  Secret derived(mac);
  OPENSSL_cleanse(mac.data(), mac.size());
  return derived;
}

void AppendSized(std::vector<uint8_t>& out, std::span<const uint8_t> bytes) {
  AppendBe(out, static_cast<uint32_t>(bytes.size()));
  Append(out, bytes);
}

// Sizes are bounded by that of the cookie.
size_t ContentSize(const CookieContent& content) {
  constexpr size_t kSizes = 6 * sizeof(uint32_t);
  return sizeof(int64_t) + content.agent_id.bytes().size() + kSizes +
         content.ek_certificate.size() + content.ek_template.size() +
         content.ak_public.size() + content.verifier_certificate.size() +
         content.token.size() + content.secret.size();
}

Secret Serialize(const CookieContent& content) {
  std::vector<uint8_t> out;
  // No reallocation may leave a copy of the secret behind.
  out.reserve(ContentSize(content));
  AppendBe(out, static_cast<uint64_t>(absl::ToUnixMicros(content.issued)));
  Append(out, content.agent_id.bytes());
  AppendSized(out, content.ek_certificate);
  AppendSized(out, AsBytes(content.ek_template));
  AppendSized(out, content.ak_public);
  AppendSized(out, content.verifier_certificate);
  AppendSized(out, AsBytes(content.token));
  AppendSized(out, content.secret.Reveal());
  Secret secret(out);
  OPENSSL_cleanse(out.data(), out.size());
  return secret;
}

absl::StatusOr<CookieContent> Parse(std::span<const uint8_t> plain) {
  ByteReader reader(plain, ByteOrder::kBig);
  const auto sized = [&reader](absl::string_view field) {
    return reader.ReadSized32(kMaxCookieSize, field);
  };
  CUPEL_ASSIGN_OR_RETURN(const uint64_t issued, reader.ReadU64("issued"));
  CUPEL_ASSIGN_OR_RETURN(const auto id, reader.ReadBytes(16, "agent id"));
  CUPEL_ASSIGN_OR_RETURN(AgentId agent_id, AgentId::FromBytes(id));
  CUPEL_ASSIGN_OR_RETURN(const auto certificate, sized("EK certificate"));
  CUPEL_ASSIGN_OR_RETURN(const auto ek_template, sized("EK template"));
  CUPEL_ASSIGN_OR_RETURN(const auto ak, sized("AK"));
  CUPEL_ASSIGN_OR_RETURN(const auto verifier, sized("verifier"));
  CUPEL_ASSIGN_OR_RETURN(const auto token, sized("token"));
  CUPEL_ASSIGN_OR_RETURN(const auto secret, sized("secret"));
  CUPEL_RETURN_IF_ERROR(reader.ExpectEnd("cookie"));
  return CookieContent{
      .issued = absl::FromUnixMicros(static_cast<int64_t>(issued)),
      .agent_id = agent_id,
      .ek_certificate = ToVector(certificate),
      .ek_template = std::string(AsText(ek_template)),
      .ak_public = ToVector(ak),
      .verifier_certificate = ToVector(verifier),
      .token = std::string(AsText(token)),
      .secret = Secret(secret)};
}

}  // namespace

absl::StatusOr<CookieKeys::KeyList> CookieKeys::MakeList(
    std::vector<Secret> keys) {
  if (keys.empty() || keys.size() > kMaxCookieKeyCount) {
    return absl::InvalidArgumentError(
        absl::StrCat("cookie keys: ", keys.size(), " keys; 1 to ",
                     kMaxCookieKeyCount, " are needed"));
  }
  std::vector<Key> list;
  for (Secret& secret : keys) {
    if (secret.size() != kCookieKeySize || IsZero(secret.Reveal())) {
      return absl::InvalidArgumentError(
          absl::StrCat("cookie keys: key ", list.size() + 1, " is not ",
                       kCookieKeySize, " random bytes"));
    }
    Key key;
    const crypto::Digest id = crypto::Hash(
        HashAlgorithm::kSha256, {AsBytes(kKeyIdLabel), secret.Reveal()});
    std::ranges::copy(id.bytes().first(key.id.size()), key.id.begin());
    const bool is_twice = std::ranges::any_of(
        list, [&key](const Key& other) { return other.id == key.id; });
    if (is_twice) {
      return absl::InvalidArgumentError(
          absl::StrCat("cookie keys: key ", list.size() + 1, " stands twice"));
    }
    key.secret = std::move(secret);
    list.push_back(std::move(key));
  }
  return std::make_shared<const std::vector<Key>>(std::move(list));
}

absl::StatusOr<std::unique_ptr<CookieKeys>> CookieKeys::Create(
    std::vector<Secret> keys) {
  CUPEL_ASSIGN_OR_RETURN(KeyList list, MakeList(std::move(keys)));
  return std::unique_ptr<CookieKeys>(new CookieKeys(std::move(list)));
}

absl::StatusOr<std::unique_ptr<CookieKeys>> CookieKeys::Generate() {
  CUPEL_ASSIGN_OR_RETURN(Secret key, RandomKey());
  std::vector<Secret> keys;
  keys.push_back(std::move(key));
  return Create(std::move(keys));
}

absl::Status CookieKeys::Rotate() {
  CUPEL_ASSIGN_OR_RETURN(Secret fresh, RandomKey());
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<Secret> keys;
  keys.push_back(std::move(fresh));
  keys.emplace_back(keys_->front().secret.Reveal());
  CUPEL_ASSIGN_OR_RETURN(keys_, MakeList(std::move(keys)));
  return absl::OkStatus();
}

CookieKeys::KeyList CookieKeys::keys() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return keys_;
}

absl::StatusOr<std::vector<uint8_t>> CookieKeys::Seal(
    const CookieContent& content) const {
  const size_t plain_size = ContentSize(content);
  if (plain_size > kMaxCookieSize - kHeaderSize - kTagSize) {
    return absl::InvalidArgumentError(
        absl::StrCat("enrolment: a cookie over ", plain_size, " bytes"));
  }
  const KeyList list = keys();
  const Key& key = list->front();
  std::array<uint8_t, kCookieNonceSize> nonce{};
  if (RAND_bytes(nonce.data(), static_cast<int>(nonce.size())) != 1) {
    return OpensslError("RAND_bytes");
  }
  CUPEL_ASSIGN_OR_RETURN(const Secret derived, CookieKey(key.secret, nonce));
  const Secret plain = Serialize(content);

  std::vector<uint8_t> cookie = {kVersion};
  Append(cookie, key.id);
  Append(cookie, nonce);
  cookie.resize(kHeaderSize + plain.size() + kTagSize);
  uint8_t* const body = cookie.data() + kHeaderSize;
  const Owned<EVP_CIPHER_CTX> context(EVP_CIPHER_CTX_new());
  int size = 0;
  int last = 0;
  if (!context ||
      EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr,
                         derived.Reveal().data(), kIv.data()) != 1 ||
      EVP_EncryptUpdate(context.get(), nullptr, &size, cookie.data(),
                        static_cast<int>(kHeaderSize)) != 1 ||
      EVP_EncryptUpdate(context.get(), body, &size, plain.Reveal().data(),
                        static_cast<int>(plain.size())) != 1 ||
      static_cast<size_t>(size) != plain.size() ||
      EVP_EncryptFinal_ex(context.get(), body + size, &last) != 1 ||
      last != 0 ||
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG,
                          static_cast<int>(kTagSize), body + size) != 1) {
    return OpensslError("AES-256-GCM");
  }
  return cookie;
}

absl::StatusOr<OpenedCookie> CookieKeys::Open(
    std::span<const uint8_t> cookie) const {
  if (cookie.size() > kMaxCookieSize ||
      cookie.size() < kHeaderSize + kTagSize || cookie[0] != kVersion) {
    return NotOurs();
  }
  const auto id = cookie.subspan(1, kKeyIdSize);
  const auto nonce = cookie.subspan(1 + kKeyIdSize, kCookieNonceSize);
  const KeyList list = keys();
  const auto key = std::ranges::find_if(
      *list, [id](const Key& k) { return std::ranges::equal(k.id, id); });
  if (key == list->end()) return NotOurs();
  CUPEL_ASSIGN_OR_RETURN(const Secret derived, CookieKey(key->secret, nonce));

  const auto body =
      cookie.subspan(kHeaderSize, cookie.size() - kHeaderSize - kTagSize);
  // OpenSSL takes the tag by a pointer to what it could write to.
  std::array<uint8_t, kTagSize> tag{};
  std::ranges::copy(cookie.last(kTagSize), tag.begin());
  std::vector<uint8_t> plain(body.size());
  const Owned<EVP_CIPHER_CTX> context(EVP_CIPHER_CTX_new());
  int size = 0;
  int last = 0;
  uint8_t end[16];  // a stream cipher leaves nothing for it
  const bool is_ours =
      context &&
      EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr,
                         derived.Reveal().data(), kIv.data()) == 1 &&
      EVP_DecryptUpdate(context.get(), nullptr, &size, cookie.data(),
                        static_cast<int>(kHeaderSize)) == 1 &&
      EVP_DecryptUpdate(context.get(), plain.data(), &size, body.data(),
                        static_cast<int>(body.size())) == 1 &&
      static_cast<size_t>(size) == plain.size() &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG,
                          static_cast<int>(kTagSize), tag.data()) == 1 &&
      EVP_DecryptFinal_ex(context.get(), end, &last) == 1 && last == 0;
  if (!is_ours) {
    OPENSSL_cleanse(plain.data(), plain.size());
    static_cast<void>(OpensslError("AES-256-GCM"));
    return NotOurs();
  }
  absl::StatusOr<CookieContent> content = Parse(plain);
  OPENSSL_cleanse(plain.data(), plain.size());
  // Sealed by a holder of the key, and still no cookie: another version.
  if (!content.ok()) return NotOurs();
  OpenedCookie opened{.content = *std::move(content)};
  std::ranges::copy(nonce, opened.nonce.begin());
  return opened;
}

}  // namespace cupel::verifier
