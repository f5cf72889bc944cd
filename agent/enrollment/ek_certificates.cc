#include "agent/enrollment/ek_certificates.h"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/certificate.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"

namespace cupel::agent {
namespace {

using ::cupel::crypto::Certificate;
using Chain = std::vector<std::vector<uint8_t>>;

constexpr size_t kMaxSize = size_t{1} << 20;

absl::StatusOr<Chain> ReadChain(const std::string& path) {
  CUPEL_ASSIGN_OR_RETURN(auto bytes, ReadFile(path, kMaxSize));
  if (!absl::StrContains(AsText(bytes), "-----BEGIN ")) {
    return Chain{std::move(bytes)};
  }
  const auto bundle = Certificate::BundleFromPem(AsText(bytes));
  if (!bundle.ok()) {
    return WithContext(bundle.status(), EscapeForDisplay(path));
  }
  Chain chain;
  for (const Certificate& certificate : *bundle) {
    chain.push_back(ToVector(certificate.der()));
  }
  return chain;
}

bool IsFor(const Chain& chain, const crypto::PublicKey& ek) {
  const auto der = crypto::WithoutPadding(chain.front());
  if (!der.ok()) return false;
  const auto certificate = Certificate::FromDer(*der);
  if (!certificate.ok()) return false;
  const auto key = certificate->GetPublicKey();
  return key.ok() && EVP_PKEY_eq(key->get(), ek.get()) == 1;
}

}  // namespace

absl::StatusOr<Chain> ReadEkCertificates(const std::string& path,
                                         const tpm::PublicArea& ek) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return ReadChain(path);
  CUPEL_ASSIGN_OR_RETURN(const crypto::PublicKey key, ek.ToPublicKey());
  std::filesystem::directory_iterator files(path, error);
  const std::filesystem::directory_iterator end;
  std::vector<std::string> names;
  for (; !error && files != end; files.increment(error)) {
    names.push_back(files->path().string());
  }
  if (error) {
    return absl::UnavailableError(
        absl::StrCat(EscapeForDisplay(path), ": ", error.message()));
  }
  std::ranges::sort(names);
  for (const std::string& name : names) {
    auto chain = ReadChain(name);
    if (chain.ok() && IsFor(*chain, key)) return chain;
  }
  return absl::NotFoundError(absl::StrCat(
      EscapeForDisplay(path), ": none of ", names.size(),
      " files there begins with a certificate of this TPM's endorsement key"));
}

}  // namespace cupel::agent
