#include "common/tpm/attest.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/tpm/marshal.h"
#include "common/util/byte_reader.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::tpm {
namespace {

absl::StatusOr<ClockInfo> ReadClockInfo(ByteReader& reader) {
  ClockInfo info;
  CUPEL_ASSIGN_OR_RETURN(info.clock, reader.ReadU64("attest: clock"));
  CUPEL_ASSIGN_OR_RETURN(info.reset_count,
                         reader.ReadU32("attest: resetCount"));
  CUPEL_ASSIGN_OR_RETURN(info.restart_count,
                         reader.ReadU32("attest: restartCount"));
  CUPEL_ASSIGN_OR_RETURN(const uint8_t safe, reader.ReadU8("attest: safe"));
  // TPMI_YES_NO. TPM 2.0 Part 2, 9.2.
  if (safe > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("attest: safe is ", safe, ", expected 0 or 1"));
  }
  info.safe = safe == 1;
  return info;
}

}  // namespace

absl::StatusOr<RawAttest> ParseRawAttest(std::span<const uint8_t> bytes) {
  ByteReader reader(bytes, ByteOrder::kBig);
  RawAttest attest;
  AttestHeader& header = attest.header;
  CUPEL_ASSIGN_OR_RETURN(header.magic, reader.ReadU32("attest: magic"));
  CUPEL_ASSIGN_OR_RETURN(const uint16_t type, reader.ReadU16("attest: type"));
  header.type = StructureTag{type};
  CUPEL_ASSIGN_OR_RETURN(
      const auto signer,
      reader.ReadSized16(kMaxNameSize, "attest: qualifiedSigner"));
  header.qualified_signer = ToVector(signer);
  CUPEL_ASSIGN_OR_RETURN(const auto extra,
                         reader.ReadSized16(kMaxDataSize, "attest: extraData"));
  header.extra_data = ToVector(extra);
  CUPEL_ASSIGN_OR_RETURN(header.clock_info, ReadClockInfo(reader));
  CUPEL_ASSIGN_OR_RETURN(header.firmware_version,
                         reader.ReadU64("attest: firmwareVersion"));
  attest.attested = reader.rest();
  return attest;
}

absl::StatusOr<QuoteInfo> ParseQuoteInfo(std::span<const uint8_t> bytes) {
  ByteReader reader(bytes, ByteOrder::kBig);
  QuoteInfo quote;
  CUPEL_ASSIGN_OR_RETURN(quote.selection, PcrSelection::Read(reader));
  CUPEL_ASSIGN_OR_RETURN(
      const auto digest,
      reader.ReadSized16(kMaxDigestBuffer, "attest: pcrDigest"));
  quote.pcr_digest = ToVector(digest);
  CUPEL_RETURN_IF_ERROR(reader.ExpectEnd("attest"));
  return quote;
}

absl::StatusOr<Attest> ParseAttest(std::span<const uint8_t> bytes) {
  CUPEL_ASSIGN_OR_RETURN(RawAttest raw, ParseRawAttest(bytes));
  if (raw.header.magic != kGeneratedValue) {
    return absl::InvalidArgumentError(absl::StrCat(
        "attest: magic 0x", absl::Hex(raw.header.magic, absl::kZeroPad8),
        ", expected 0x", absl::Hex(kGeneratedValue)));
  }
  if (raw.header.type != StructureTag::kAttestQuote) {
    return absl::UnimplementedError(absl::StrCat(
        "attest: type ", StructureTagName(raw.header.type), ", not a quote"));
  }
  Attest attest;
  static_cast<AttestHeader&>(attest) = std::move(raw.header);
  CUPEL_ASSIGN_OR_RETURN(attest.quote, ParseQuoteInfo(raw.attested));
  return attest;
}

std::vector<uint8_t> SerializeAttest(const Attest& attest) {
  std::vector<uint8_t> out;
  AppendBe(out, attest.magic);
  AppendBe(out, static_cast<uint16_t>(attest.type));
  AppendSized16(out, attest.qualified_signer);
  AppendSized16(out, attest.extra_data);
  AppendBe(out, attest.clock_info.clock);
  AppendBe(out, attest.clock_info.reset_count);
  AppendBe(out, attest.clock_info.restart_count);
  AppendBe(out, static_cast<uint8_t>(attest.clock_info.safe ? 1 : 0));
  AppendBe(out, attest.firmware_version);
  Append(out, attest.quote.selection.Serialize());
  AppendSized16(out, attest.quote.pcr_digest);
  return out;
}

}  // namespace cupel::tpm
