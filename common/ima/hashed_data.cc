#include "common/ima/hashed_data.h"

#include <algorithm>

namespace cupel::ima {
namespace {

constexpr size_t kLegacyHeaderSize = kLegacyDigestSize + sizeof(uint32_t);

}  // namespace

std::span<const uint8_t> HashedTemplateData(const Entry& entry,
                                            LegacyTemplateBuffer& buffer) {
  const std::span<const uint8_t> data = entry.template_data;
  if (!entry.IsLegacy() || data.size() < kLegacyHeaderSize ||
      data.size() > kLegacyHeaderSize + kLegacyMaxFileNameSize) {
    return data;
  }
  // The name's size is what is left: no need to know the byte order.
  buffer.fill(0);
  const auto name =
      std::ranges::copy(data.first(kLegacyDigestSize), buffer.begin()).out;
  std::ranges::copy(data.subspan(kLegacyHeaderSize), name);
  return buffer;
}

crypto::Digest TemplateDigest(const Entry& entry,
                              crypto::HashAlgorithm algorithm) {
  LegacyTemplateBuffer buffer;
  return crypto::Hash(algorithm, HashedTemplateData(entry, buffer));
}

std::optional<crypto::Digest> ExpectedTemplateDigest(
    const Entry& entry, std::span<const crypto::HashAlgorithm> padded_banks) {
  const std::optional<crypto::HashAlgorithm> bank =
      crypto::ShaFromDigestSize(entry.template_digest.size());
  if (!bank.has_value()) return std::nullopt;
  if (std::ranges::find(padded_banks, *bank) == padded_banks.end()) {
    return TemplateDigest(entry, *bank);
  }
  crypto::Digest padded(*bank);
  std::ranges::copy(TemplateDigest(entry, crypto::HashAlgorithm::kSha1).bytes(),
                    padded.mutable_bytes().begin());
  return padded;
}

bool HasOwnTemplateDigest(const Entry& entry,
                          std::span<const crypto::HashAlgorithm> padded_banks) {
  const auto expected = ExpectedTemplateDigest(entry, padded_banks);
  return expected.has_value() &&
         std::ranges::equal(expected->bytes(), entry.template_digest);
}

}  // namespace cupel::ima
