// OpenSSL deprecates the low-level functions in favour of EVP, whose fetch and
// context cost more than the one or two blocks of an IMA template.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "common/crypto/digest.h"

#include <openssl/sha.h>

#include <algorithm>
#include <cstdlib>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/util/hex.h"

namespace cupel::crypto {
namespace {

struct AlgorithmInfo {
  HashAlgorithm algorithm;
  absl::string_view name;
};

// In the order of the enumerators. Linux crypto/hash_info.c.
constexpr std::array<AlgorithmInfo, kDigestSizes.size()> kAlgorithms = {{
    {HashAlgorithm::kMd4, "md4"},
    {HashAlgorithm::kMd5, "md5"},
    {HashAlgorithm::kSha1, "sha1"},
    {HashAlgorithm::kRmd160, "rmd160"},
    {HashAlgorithm::kSha224, "sha224"},
    {HashAlgorithm::kSha256, "sha256"},
    {HashAlgorithm::kSha384, "sha384"},
    {HashAlgorithm::kSha512, "sha512"},
    {HashAlgorithm::kWp256, "wp256"},
    {HashAlgorithm::kWp384, "wp384"},
    {HashAlgorithm::kWp512, "wp512"},
    {HashAlgorithm::kSm3_256, "sm3"},
    {HashAlgorithm::kStreebog256, "streebog256"},
    {HashAlgorithm::kStreebog512, "streebog512"},
    {HashAlgorithm::kSha3_256, "sha3-256"},
    {HashAlgorithm::kSha3_384, "sha3-384"},
    {HashAlgorithm::kSha3_512, "sha3-512"},
}};

const AlgorithmInfo& Info(HashAlgorithm algorithm) {
  return kAlgorithms[static_cast<size_t>(algorithm)];
}

}  // namespace

absl::string_view HashAlgorithmName(HashAlgorithm algorithm) {
  return Info(algorithm).name;
}

std::optional<HashAlgorithm> HashAlgorithmFromName(absl::string_view name) {
  // The common ones first: this is asked once an entry.
  if (name == "sha256") return HashAlgorithm::kSha256;
  if (name == "sha1") return HashAlgorithm::kSha1;
  if (name == "sm3-256" || name == "sm3_256") return HashAlgorithm::kSm3_256;
  for (const AlgorithmInfo& info : kAlgorithms) {
    if (info.name == name) return info.algorithm;
  }
  return std::nullopt;
}

std::optional<HashAlgorithm> ShaFromDigestSize(size_t size) {
  switch (size) {
    case 20:
      return HashAlgorithm::kSha1;
    case 28:
      return HashAlgorithm::kSha224;
    case 32:
      return HashAlgorithm::kSha256;
    case 48:
      return HashAlgorithm::kSha384;
    case 64:
      return HashAlgorithm::kSha512;
    default:
      return std::nullopt;
  }
}

absl::StatusOr<Digest> Digest::Create(HashAlgorithm algorithm,
                                      std::span<const uint8_t> bytes) {
  if (bytes.size() != DigestSize(algorithm)) {
    return absl::InvalidArgumentError(
        absl::StrCat(HashAlgorithmName(algorithm), " digest of ", bytes.size(),
                     " bytes, expected ", DigestSize(algorithm)));
  }
  Digest digest(algorithm);
  std::ranges::copy(bytes, digest.bytes_.begin());
  return digest;
}

Digest Digest::Filled(HashAlgorithm algorithm, uint8_t fill) {
  Digest digest(algorithm);
  std::ranges::fill(digest.mutable_bytes(), fill);
  return digest;
}

std::string Digest::Hex() const { return HexEncode(bytes()); }

std::string Digest::ToString() const {
  return absl::StrCat(HashAlgorithmName(algorithm_), ":", Hex());
}

bool CanHash(HashAlgorithm algorithm) {
  switch (algorithm) {
    case HashAlgorithm::kSha1:
    case HashAlgorithm::kSha224:
    case HashAlgorithm::kSha256:
    case HashAlgorithm::kSha384:
    case HashAlgorithm::kSha512:
      return true;
    default:
      return false;
  }
}

Digest Hash(HashAlgorithm algorithm,
            std::initializer_list<std::span<const uint8_t>> parts) {
  Digest digest(algorithm);
  uint8_t* const out = digest.mutable_bytes().data();
  switch (algorithm) {
    case HashAlgorithm::kSha1: {
      SHA_CTX context;
      SHA1_Init(&context);
      for (const auto& part : parts) {
        SHA1_Update(&context, part.data(), part.size());
      }
      SHA1_Final(out, &context);
      return digest;
    }
    case HashAlgorithm::kSha224: {
      SHA256_CTX context;
      SHA224_Init(&context);
      for (const auto& part : parts) {
        SHA224_Update(&context, part.data(), part.size());
      }
      SHA224_Final(out, &context);
      return digest;
    }
    case HashAlgorithm::kSha256: {
      SHA256_CTX context;
      SHA256_Init(&context);
      for (const auto& part : parts) {
        SHA256_Update(&context, part.data(), part.size());
      }
      SHA256_Final(out, &context);
      return digest;
    }
    case HashAlgorithm::kSha384: {
      SHA512_CTX context;
      SHA384_Init(&context);
      for (const auto& part : parts) {
        SHA384_Update(&context, part.data(), part.size());
      }
      SHA384_Final(out, &context);
      return digest;
    }
    case HashAlgorithm::kSha512: {
      SHA512_CTX context;
      SHA512_Init(&context);
      for (const auto& part : parts) {
        SHA512_Update(&context, part.data(), part.size());
      }
      SHA512_Final(out, &context);
      return digest;
    }
    default:
      break;
  }
  std::abort();  // The caller broke the contract: see CanHash.
}

HashPrefix::HashPrefix(HashAlgorithm algorithm, std::span<const uint8_t> prefix)
    : algorithm_(algorithm) {
  if (algorithm != HashAlgorithm::kSha256) {
    prefix_.assign(prefix.begin(), prefix.end());
    return;
  }
  SHA256_CTX context;
  static_assert(sizeof(context) <= sizeof(sha256_));
  SHA256_Init(&context);
  SHA256_Update(&context, prefix.data(), prefix.size());
  std::memcpy(sha256_.data(), &context, sizeof(context));
}

Digest HashPrefix::HashWith(std::span<const uint8_t> rest) const {
  if (algorithm_ != HashAlgorithm::kSha256) {
    return Hash(algorithm_, {prefix_, rest});
  }
  SHA256_CTX context;
  std::memcpy(&context, sha256_.data(), sizeof(context));
  SHA256_Update(&context, rest.data(), rest.size());
  Digest digest(algorithm_);
  SHA256_Final(digest.mutable_bytes().data(), &context);
  return digest;
}

void ExtendPcr(Digest& pcr, std::span<const uint8_t> value) {
  pcr = Hash(pcr.algorithm(), {pcr.bytes(), value});
}

}  // namespace cupel::crypto
