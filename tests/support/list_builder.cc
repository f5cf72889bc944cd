#include "tests/support/list_builder.h"

#include <algorithm>

#include "common/util/bytes.h"

namespace cupel::testing {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;

constexpr HashAlgorithm kBanks[] = {
    HashAlgorithm::kSha1, HashAlgorithm::kSha256, HashAlgorithm::kSha384,
    HashAlgorithm::kSha512};

void AppendU32(std::vector<uint8_t>& out, size_t value) {
  for (int shift = 0; shift < 32; shift += 8) {
    out.push_back(static_cast<uint8_t>(value >> shift));
  }
}

}  // namespace

std::vector<uint8_t> Field(std::span<const uint8_t> bytes) {
  std::vector<uint8_t> field;
  AppendU32(field, bytes.size());
  Append(field, bytes);
  return field;
}

std::vector<uint8_t> DigestNg(const Digest& digest) {
  std::vector<uint8_t> content =
      ToVector(AsBytes(HashAlgorithmName(digest.algorithm())));
  content.push_back(':');
  content.push_back(0);
  Append(content, digest.bytes());
  return content;
}

std::vector<uint8_t> NameNg(absl::string_view path) {
  std::vector<uint8_t> content = ToVector(AsBytes(path));
  content.push_back(0);
  return content;
}

void ListBuilder::ExtendBanks(uint32_t pcr, std::span<const uint8_t> hashed,
                              bool violation) {
  for (const HashAlgorithm bank : kBanks) {
    Digest& value = pcrs_.try_emplace({bank, pcr}, Digest(bank)).first->second;
    crypto::ExtendPcr(value, violation ? Digest::Filled(bank, 0xff).bytes()
                                       : crypto::Hash(bank, hashed).bytes());
  }
}

void ListBuilder::AddRecord(uint32_t pcr, std::span<const uint8_t> digest,
                            absl::string_view name,
                            std::span<const uint8_t> data, bool sized) {
  offsets_.push_back(bytes_.size());
  AppendU32(bytes_, pcr);
  Append(bytes_, digest);
  Append(bytes_, Field(AsBytes(name)));
  if (sized) {
    Append(bytes_, Field(data));
  } else {
    Append(bytes_, data);
  }
}

ListBuilder& ListBuilder::Add(uint32_t pcr, absl::string_view template_name,
                              std::span<const uint8_t> template_data) {
  AddRecord(pcr, crypto::Hash(HashAlgorithm::kSha1, template_data).bytes(),
            template_name, template_data, /*sized=*/true);
  ExtendBanks(pcr, template_data, /*violation=*/false);
  return *this;
}

ListBuilder& ListBuilder::AddFile(absl::string_view path, const Digest& digest,
                                  uint32_t pcr) {
  std::vector<uint8_t> data = Field(DigestNg(digest));
  Append(data, Field(NameNg(path)));
  return Add(pcr, "ima-ng", data);
}

ListBuilder& ListBuilder::AddSigned(absl::string_view path,
                                    const Digest& digest,
                                    std::span<const uint8_t> signature) {
  std::vector<uint8_t> data = Field(DigestNg(digest));
  Append(data, Field(NameNg(path)));
  Append(data, Field(signature));
  return Add(10, "ima-sig", data);
}

ListBuilder& ListBuilder::AddBuffer(absl::string_view name,
                                    std::span<const uint8_t> buffer) {
  return AddBuffer(name, buffer, crypto::Hash(HashAlgorithm::kSha256, buffer));
}

ListBuilder& ListBuilder::AddBuffer(absl::string_view name,
                                    std::span<const uint8_t> buffer,
                                    const Digest& digest) {
  std::vector<uint8_t> data = Field(DigestNg(digest));
  Append(data, Field(NameNg(name)));
  Append(data, Field(buffer));
  return Add(10, "ima-buf", data);
}

ListBuilder& ListBuilder::AddLegacy(absl::string_view path,
                                    const Digest& sha1) {
  std::vector<uint8_t> hashed = ToVector(sha1.bytes());
  Append(hashed, AsBytes(path));
  hashed.resize(20 + 256);
  std::vector<uint8_t> data = ToVector(sha1.bytes());
  Append(data, Field(AsBytes(path)));
  AddRecord(10, crypto::Hash(HashAlgorithm::kSha1, hashed).bytes(), "ima", data,
            /*sized=*/false);
  ExtendBanks(10, hashed, /*violation=*/false);
  return *this;
}

ListBuilder& ListBuilder::AddViolation(absl::string_view path) {
  std::vector<uint8_t> data = Field(DigestNg(Digest(HashAlgorithm::kSha256)));
  Append(data, Field(NameNg(path)));
  AddRecord(10, Digest(HashAlgorithm::kSha1).bytes(), "ima-ng", data,
            /*sized=*/true);
  ExtendBanks(10, {}, /*violation=*/true);
  return *this;
}

Digest ListBuilder::Pcr(HashAlgorithm bank, uint32_t pcr) const {
  const auto found = pcrs_.find({bank, pcr});
  return found == pcrs_.end() ? Digest(bank) : found->second;
}

Digest FileDigestOf(absl::string_view seed, HashAlgorithm algorithm) {
  return crypto::Hash(algorithm, AsBytes(seed));
}

}  // namespace cupel::testing
