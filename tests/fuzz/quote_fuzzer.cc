#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "common/tpm/quote.h"
#include "common/util/bytes.h"
#include "common/util/hex.h"

namespace {

using cupel::tpm::AttestationKey;
using cupel::tpm::PcrSelection;
using cupel::tpm::PcrValues;

// A TPM's key, the one quote of it that the corpus has, and PCR 10.
constexpr char kKey[] =
    "0023000b00050072000000100018000b000300100020ee70ac38be044a9bf9ba1db0627c52"
    "8d2aaa81438344161d3802c0cb409aa0c6002035cc12220b787493f450e416f575144571da"
    "69cd6d7e7ca895e0061039ddd288";
constexpr char kQuote[] =
    "ff54434780180022000b5364d0fa2355a06bcb4a3b52ece8f703da6582d73275add693fce5"
    "e0d79d41a800143031323334353637383961626364656630313233000000000000298f0000"
    "00020000000001201910230016363600000001000b030004000020f3605135701c36ffbf32"
    "4e70e8672f05d72a2be14086fcb7962b8d7ddca7383c";
constexpr char kPcr10[] =
    "cd0d730cd8c7a808cdd6ebb038d26785ce4f5ae2efa31109c1655810d44e1078";

PcrValues MakeValues() {
  PcrValues values;
  const auto value = cupel::crypto::Digest::Create(
      cupel::crypto::HashAlgorithm::kSha256, *cupel::HexDecode(kPcr10));
  if (!values.Set(10, *value).ok()) std::abort();
  return values;
}

}  // namespace

// The input: one byte of what is expected, a u16 size (big-endian), the quote
// of that size, the signature. Nobody but the TPM can make a quote that passes.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const AttestationKey key =
      *AttestationKey::FromFile(*cupel::HexDecode(kKey));
  static const AttestationKey bare = AttestationKey::FromPublicKey(key.key());
  static const std::vector<uint8_t> signed_quote = *cupel::HexDecode(kQuote);
  static const PcrSelection selection = *PcrSelection::FromString("sha256:10");
  static const PcrValues values = MakeValues();
  if (size < 3) return 0;
  const size_t attest_size =
      std::min<size_t>(size - 3, size_t{data[1]} << 8 | data[2]);
  const std::span<const uint8_t> attest(data + 3, attest_size);
  const std::span<const uint8_t> signature(data + 3 + attest_size,
                                           size - 3 - attest_size);
  const auto outcome = cupel::tpm::VerifyQuote(
      (data[0] & 1) != 0 ? bare : key, attest, signature,
      {.qualifying_data = cupel::AsBytes("0123456789abcdef0123"),
       .selection = (data[0] & 2) != 0 ? nullptr : &selection,
       .values = (data[0] & 4) != 0 ? nullptr : &values});
  if (!outcome.ok()) return 0;
  if (std::holds_alternative<cupel::tpm::VerifiedQuote>(*outcome)) {
    if (cupel::AsText(attest) != cupel::AsText(signed_quote)) std::abort();
    return 0;
  }
  const auto& rejected = std::get<cupel::tpm::RejectedQuote>(*outcome);
  if (rejected.failures.empty()) std::abort();
  if (rejected.signature_valid &&
      cupel::AsText(attest) != cupel::AsText(signed_quote)) {
    std::abort();
  }
  return 0;
}
