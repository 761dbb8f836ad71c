import Testing

@testable import Identities

@Suite struct CertificateFactsTests {
  /// Made with openssl: `-subj '/C=DE/O=Example, Inc./OU=Storage/CN=host-a.example.org'`, addresses 10.78.0.2 and fd00::1.
  private static let pem = """
    -----BEGIN CERTIFICATE-----
    MIICJzCCAc2gAwIBAgIUCgCGahzed7xjAY8hzgLV+7K+GxEwCgYIKoZIzj0EAwIw
    LjEQMA4GA1UECgwHaW92bWVzaDEaMBgGA1UEAwwRYXV0aG9yaXR5IG9mIHJhY2sw
    HhcNMjYxMTI2MDc0MDQ3WhcNMjYxMjAxMDc0MDQ3WjBUMQswCQYDVQQGEwJERTEW
    MBQGA1UECgwNRXhhbXBsZSwgSW5jLjEQMA4GA1UECwwHU3RvcmFnZTEbMBkGA1UE
    AwwSaG9zdC1hLmV4YW1wbGUub3JnMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
    /8o3MpV/4Q9mFBfkld/GXD1O85Is50y+IePGMDw672sK/6jFtmSVuxTdwHRhC3/N
    DsPYnn3gx9wrmAbEio/RDqOBojCBnzAMBgNVHRMBAf8EAjAAMBMGA1UdJQQMMAoG
    CCsGAQUFBwMCMDoGA1UdEQQzMDGGF2lvdjovL3JhY2svYWdlbnQvaG9zdC1hhwQK
    TgAChxD9AAAAAAAAAAAAAAAAAAABMB0GA1UdDgQWBBQ12sZAxX0FOLU60s/JvThx
    aEWaVjAfBgNVHSMEGDAWgBRueNgf36ElVjWeGzYCYqaY1TZAWjAKBggqhkjOPQQD
    AgNIADBFAiEA265VqnRx3Bq3A34M/FGGUbLD8fwAJd+QdSFO6UWiVV0CIAwM5HMY
    al3GW8C0PWrOQYODw/BKLQfL/ZBLo4qbKypU
    -----END CERTIFICATE-----
    """

  @Test func aCertificateSaysWhoWhereAndWhen() throws {
    let facts = try #require(CertificateFacts(pem: "text before\n" + Self.pem))
    #expect(facts.subject == "C=DE,O=Example\\, Inc.,OU=Storage,CN=host-a.example.org")
    #expect(facts.ipAddresses == [[10, 78, 0, 2], [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]])
    #expect(facts.notValidBefore == 1_795_678_847 && facts.notValidAfter == 1_796_110_847)
    #expect(facts.isForServers == false)
  }

  @Test func aFileOfSomethingElseIsNone() {
    for text in ["", "-----BEGIN CERTIFICATE-----", Self.pem.replacing("BEGIN CERTIFICATE", with: "BEGIN KEY")] {
      #expect(CertificateFacts(pem: text) == nil)
    }
  }

  @Test func damageIsNoCrash() throws {
    let whole = try #require(CertificateFacts(pem: Self.pem))
    for length in stride(from: 0, to: Self.pem.count, by: 3) {
      let cut = Self.pem.prefix(length) + "\n-----END CERTIFICATE-----\n"
      #expect(CertificateFacts(pem: String(cut)) != whole || length > Self.pem.count - 30)
    }
    var numbers = SystemRandomNumberGenerator()
    for _ in 0..<2000 {
      var text = Array(Self.pem.utf8)
      text[Int.random(in: 28..<text.count - 28, using: &numbers)] = UInt8.random(in: 0x2b...0x7a, using: &numbers)
      _ = CertificateFacts(pem: String(decoding: text, as: UTF8.self))
    }
  }

  @Test func eachIdentityHasASubjectOfItsOwn() throws {
    let long = String(repeating: "x", count: 63)
    let identities = try [
      ClusterIdentity(cluster: long, role: .agent(host: long)), ClusterIdentity(cluster: long, role: .tenant(long)),
      ClusterIdentity(cluster: long, role: .operator(long)), ClusterIdentity(cluster: "rack", role: .agent(host: long)),
      ClusterIdentity(cluster: "rack", role: .coordinator),
      ClusterIdentity(cluster: "rack", role: .tenant("coordinator")),
    ]
    let subjects = identities.map(CertificateSubject.init)
    #expect(Set(subjects).count == identities.count && Set(subjects.map(\.description)).count == identities.count)
    #expect(subjects.allSatisfy { ($0.units + [$0.commonName]).allSatisfy { $0.count <= 64 } })
    let agent = CertificateSubject(try ClusterIdentity(cluster: "rack", role: .agent(host: "host-a"))).description
    #expect(agent == CertificateSubject.ofAgents(in: "rack").replacing("{host}", with: "host-a"))
  }
}
