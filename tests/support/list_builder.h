// Builds measurement lists as a kernel would write them, for tests and
// benchmarks: real template digests, and the PCR values that go with them.
#ifndef CUPEL_TESTS_SUPPORT_LIST_BUILDER_H_
#define CUPEL_TESTS_SUPPORT_LIST_BUILDER_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/crypto/digest.h"

namespace cupel::testing {

// u32 size | bytes, little-endian: a template's field.
std::vector<uint8_t> Field(std::span<const uint8_t> bytes);
// The content of d-ng: "sha256:" NUL digest.
std::vector<uint8_t> DigestNg(const crypto::Digest& digest);
// The content of n-ng: the path and a NUL.
std::vector<uint8_t> NameNg(absl::string_view path);

class ListBuilder {
 public:
  // A record of any template, with the SHA-1 digest of its data.
  ListBuilder& Add(uint32_t pcr, absl::string_view template_name,
                   std::span<const uint8_t> template_data);
  // ima-ng: a file on PCR 10.
  ListBuilder& AddFile(absl::string_view path, const crypto::Digest& digest,
                       uint32_t pcr = 10);
  // ima-sig with this value of security.ima.
  ListBuilder& AddSigned(absl::string_view path, const crypto::Digest& digest,
                         std::span<const uint8_t> signature);
  // ima-buf; the entry's digest is the buffer's SHA-256 unless one is given.
  ListBuilder& AddBuffer(absl::string_view name,
                         std::span<const uint8_t> buffer);
  ListBuilder& AddBuffer(absl::string_view name,
                         std::span<const uint8_t> buffer,
                         const crypto::Digest& digest);
  // The template "ima".
  ListBuilder& AddLegacy(absl::string_view path, const crypto::Digest& sha1);
  // A violation of ima-ng: all zeros in the record, 0xff into the PCR.
  ListBuilder& AddViolation(absl::string_view path);

  const std::vector<uint8_t>& bytes() const { return bytes_; }
  // Where each record starts.
  const std::vector<size_t>& offsets() const { return offsets_; }
  size_t size() const { return offsets_.size(); }

  // The PCR's value in a bank after all that was added.
  crypto::Digest Pcr(crypto::HashAlgorithm bank, uint32_t pcr = 10) const;

 private:
  void AddRecord(uint32_t pcr, std::span<const uint8_t> digest,
                 absl::string_view name, std::span<const uint8_t> data,
                 bool sized);
  void ExtendBanks(uint32_t pcr, std::span<const uint8_t> hashed,
                   bool violation);

  std::vector<uint8_t> bytes_;
  std::vector<size_t> offsets_;
  std::map<std::pair<crypto::HashAlgorithm, uint32_t>, crypto::Digest> pcrs_;
};

// A digest that stands for the content `seed`.
crypto::Digest FileDigestOf(
    absl::string_view seed,
    crypto::HashAlgorithm algorithm = crypto::HashAlgorithm::kSha256);

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_LIST_BUILDER_H_
