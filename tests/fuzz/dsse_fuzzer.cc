// An envelope that parses has a payload whose base64 round-trips, and is never
// valid under a key that signed nothing.
#include <openssl/pem.h>

#include <cstdint>
#include <cstdlib>

#include "common/crypto/dsse.h"
#include "common/util/bytes.h"

namespace {

cupel::crypto::PublicKey MakeKey() {
  const cupel::crypto::Owned<EVP_PKEY> pair(EVP_EC_gen("P-256"));
  const cupel::crypto::Owned<BIO> out(BIO_new(BIO_s_mem()));
  if (!pair || PEM_write_bio_PUBKEY(out.get(), pair.get()) != 1) std::abort();
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return *cupel::crypto::PublicKey::FromPem({text, static_cast<size_t>(size)});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const cupel::crypto::PublicKey key = MakeKey();
  const auto envelope = cupel::crypto::ParseDsseEnvelope({data, size});
  if (!envelope.ok()) return 0;
  if (envelope->signatures.empty()) std::abort();
  const auto again = cupel::crypto::DecodeBase64(
      cupel::crypto::EncodeBase64(envelope->payload));
  if (!again.ok() || *again != envelope->payload) std::abort();
  if (cupel::crypto::VerifyDsse(*envelope, key).ok()) std::abort();
  return 0;
}
