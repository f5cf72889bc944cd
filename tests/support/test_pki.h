// Certificates for TLS in tests, made on the spot.
#ifndef CUPEL_TESTS_SUPPORT_TEST_PKI_H_
#define CUPEL_TESTS_SUPPORT_TEST_PKI_H_

#include <cstdint>
#include <string>
#include <vector>

#include "common/crypto/digest.h"
#include "common/crypto/openssl.h"
#include "common/crypto/public_key.h"

namespace cupel::testing {

struct TestCertificate {
  std::string certificate_pem;
  std::string key_pem;
  crypto::Digest sha256;  // of the certificate's DER
};

// A CA with a key of its own, EC P-256. Everything is valid for an hour. Ends
// the process where OpenSSL fails.
class TestCa {
 public:
  explicit TestCa(const std::string& name = "Test CA");

  const std::string& pem() const { return pem_; }
  // A server's certificate for `host`, with a new key.
  TestCertificate IssueServer(const std::string& host = "localhost") const;
  // A certificate in DER for a key of somebody else's, of no particular use.
  std::vector<uint8_t> IssueFor(const crypto::PublicKey& key) const;

 private:
  crypto::Owned<EVP_PKEY> key_;
  crypto::Owned<X509> certificate_;
  std::string pem_;
};

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_TEST_PKI_H_
