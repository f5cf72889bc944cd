#include "common/crypto/hasher.h"

#include "absl/strings/str_cat.h"
#include "common/crypto/public_key.h"
#include "common/util/status_macros.h"

namespace cupel::crypto {

absl::StatusOr<Hasher> Hasher::Create(HashAlgorithm algorithm) {
  if (FetchedDigest(algorithm) == nullptr) {
    return absl::UnimplementedError(absl::StrCat("files are not hashed with ",
                                                 HashAlgorithmName(algorithm)));
  }
  Hasher hasher(algorithm);
  CUPEL_RETURN_IF_ERROR(hasher.Start());
  return hasher;
}

absl::Status Hasher::Start() {
  if (context_ != nullptr &&
      EVP_DigestInit_ex(context_.get(), FetchedDigest(algorithm_), nullptr) ==
          1) {
    return absl::OkStatus();
  }
  return OpensslError("EVP_DigestInit_ex");
}

absl::Status Hasher::Update(std::span<const uint8_t> piece) {
  if (EVP_DigestUpdate(context_.get(), piece.data(), piece.size()) == 1) {
    return absl::OkStatus();
  }
  return OpensslError("EVP_DigestUpdate");
}

absl::StatusOr<Digest> Hasher::Finish() {
  Digest digest(algorithm_);
  if (EVP_DigestFinal_ex(context_.get(), digest.mutable_bytes().data(),
                         nullptr) != 1) {
    return OpensslError("EVP_DigestFinal_ex");
  }
  CUPEL_RETURN_IF_ERROR(Start());
  return digest;
}

}  // namespace cupel::crypto
