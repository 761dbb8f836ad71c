import FoundationEssentials
import Identities
import Testing

@testable import CertificateAuthority

@Suite struct CertificateAuthorityTests {
  private let authority: CertificateAuthority

  init() throws { authority = try CertificateAuthority(cluster: "rack", days: 10) }

  private func issued(
    _ role: ClusterIdentity.Role, dnsNames: [String] = [], ipAddresses: [[UInt8]] = [], days: Int = 1
  ) throws -> (pem: String, read: IssuedCertificate) {
    let pem = try authority.issue(
      ClusterIdentity(cluster: "rack", role: role), for: CertificateKey(), dnsNames: dnsNames, ipAddresses: ipAddresses,
      notValidAfter: Date() + Double(days) * 86_400)
    return (pem, try IssuedCertificate(pem: pem))
  }

  @Test func aCertificateSaysWhatItWasIssuedFor() throws {
    let names = ["mesh.example.org", String(repeating: "long.", count: 40) + "example.org"]
    let addresses: [[UInt8]] = [[10, 77, 0, 1], [0xfd] + [UInt8](repeating: 0, count: 14) + [1]]
    let (pem, read) = try issued(.coordinator, dnsNames: names, ipAddresses: addresses)
    #expect(read.uris == ["iov://rack/coordinator"])
    #expect(read.dnsNames == names)
    #expect(read.ipAddresses == addresses)
    #expect(read.subject == "CN=coordinator,OU=coordinator,OU=rack,O=iovmesh")
    #expect(read.issuer == "CN=authority of rack,O=iovmesh")
    #expect(!read.isAuthority)
    #expect(read.fingerprint.split(separator: ":").count == 32)
    // As others read it.
    let facts = try #require(CertificateFacts(pem: pem))
    #expect(facts.subject == CertificateSubject(try ClusterIdentity(cluster: "rack", role: .coordinator)).description)
    #expect(facts.ipAddresses == addresses)
    #expect(facts.isForServers)
    #expect((facts.notValidBefore, facts.notValidAfter) == (read.notValidBefore, read.notValidAfter))
  }

  @Test func whoIsFoundNowhereIsNoServer() throws {
    #expect(CertificateFacts(pem: try issued(.operator("alice")).pem)?.isForServers == false)
    #expect(
      CertificateFacts(pem: try issued(.agent(host: "a"), ipAddresses: [[10, 0, 0, 1]]).pem)?.isForServers == true)
  }

  @Test func aHostWhoseClockIsADayBehindBelievesIt() throws {
    #expect(try issued(.agent(host: "a")).read.notValidBefore <= Int64(Date().timeIntervalSince1970) - 86_400)
  }

  @Test func itEndsWithItsAuthorityAtTheLatest() throws {
    let end = try IssuedCertificate(pem: authority.certificatePEM).notValidAfter
    #expect(try issued(.agent(host: "a"), days: 9).read.notValidAfter < end)
    #expect(try issued(.agent(host: "a"), days: 11).read.notValidAfter == end)
  }

  @Test func anAuthorityKnowsItsOwn() throws {
    let own = try IssuedCertificate(pem: authority.certificatePEM)
    #expect(own.isAuthority)
    #expect(own.uris == ["iov://rack"])
    let agent = try issued(.agent(host: "a")).read
    // Of the same name, with another key.
    let other = try CertificateAuthority(cluster: "rack", days: 10)
    #expect(agent.isIssued(by: own))
    #expect(own.isIssued(by: own))
    #expect(agent.isIssued(by: try IssuedCertificate(pem: other.certificatePEM)) == false)
    // Somebody who has a certificate is no authority.
    #expect(!agent.isIssued(by: agent))
    #expect(throws: IdentityError("the authority's key is not that of its certificate")) {
      try CertificateAuthority(certificate: own, key: CertificateKey(pem: other.keyPEM))
    }
    #expect(throws: IdentityError("this is no authority that `iov pki init` made: it names no cluster")) {
      let (key, name) = (try CertificateKey(), "of others")
      var draft = try CertificateDraft(key: key, notValidBefore: Date(), notValidAfter: Date() + 60)
      try draft.name([(.commonName, name)])
      return try CertificateAuthority(certificate: draft.signed(by: nil, key), key: key)
    }
  }

  @Test func anAuthorityThatWasKeptIssuesAsBefore() throws {
    let kept = try CertificateAuthority(
      certificate: IssuedCertificate(pem: authority.certificatePEM), key: CertificateKey(pem: authority.keyPEM))
    #expect(kept.cluster == "rack")
    #expect(kept.certificatePEM == authority.certificatePEM)
    #expect(kept.keyPEM == authority.keyPEM)
    let pem = try kept.issue(
      ClusterIdentity(cluster: "rack", role: .agent(host: "a")), for: CertificateKey(), notValidAfter: Date() + 60)
    #expect(try IssuedCertificate(pem: pem).isIssued(by: IssuedCertificate(pem: authority.certificatePEM)))
  }

  @Test func filesHoldSeveralOrNone() throws {
    let other = try CertificateAuthority(cluster: "other", days: 10)
    let both = "A note of somebody's\n" + other.certificatePEM + authority.certificatePEM
    #expect(try IssuedCertificate.all(pem: both).map(\.uris) == [["iov://other"], ["iov://rack"]])
    for text in ["", "nobody", authority.keyPEM, String(authority.certificatePEM.dropLast(60))] {
      #expect(throws: IdentityError.self) { try IssuedCertificate(pem: text) }
    }
    for text in ["", "nobody", authority.certificatePEM, String(authority.keyPEM.dropLast(60))] {
      #expect(throws: IdentityError.self) { try CertificateKey(pem: text) }
    }
  }

  /// Made by openssl: it has alternative names alone, and another authority of the same name signed it, with a key of another kind,
  /// of which it does not say the name.
  @Test func whatAnotherAuthorityOfTheSameNameSignedIsNotItsOwn() throws {
    let foreign = try IssuedCertificate(
      pem: """
        -----BEGIN CERTIFICATE-----
        MIIBPzCB8qADAgECAhQmS14/zDn4zEaI4N5fu18JB+xCGzAFBgMrZXAwLjEQMA4G
        A1UECgwHaW92bWVzaDEaMBgGA1UEAwwRYXV0aG9yaXR5IG9mIHJhY2swHhcNMjYx
        MTI4MTIzNjU2WhcNMzYxMTI1MTIzNjU2WjAAMFkwEwYHKoZIzj0CAQYIKoZIzj0D
        AQcDQgAEZRkJ0jd8Vr+0w6uA8yrNfG2+UeuA64LIKbKGBEPQcgCKKf8zGMAsc5zf
        9G9gLemz/fFUo86/jvlooksJTQ95u6MhMB8wHQYDVR0RBBYwFIYSaW92Oi8vcmFj
        ay9hZ2VudC9hMAUGAytlcANBAK9LLO2gaqw9FGHJTlJugUkoc0X4HbTWehaI6+ZB
        2xrtdCKU8wx+bcQimlXWeSA3N88UML98jVRyCzd0KEKbPwE=
        -----END CERTIFICATE-----
        """)
    #expect(foreign.subject == "")
    #expect(foreign.issuer == "CN=authority of rack,O=iovmesh")
    #expect(foreign.uris == ["iov://rack/agent/a"])
    #expect(!foreign.isIssued(by: try IssuedCertificate(pem: authority.certificatePEM)))
  }

  /// As `openssl ecparam -genkey` writes them.
  @Test func keysOfOtherProgramsAreRead() throws {
    let older = """
      -----BEGIN EC PRIVATE KEY-----
      MHcCAQEEIO3UVA8QdXmR8mGjJIfIPmlXUpAlVEGAfOdpj1Ii5niKoAoGCCqGSM49
      AwEHoUQDQgAEsVqOpIQ33K9M4KDoK4VuLaZc5VX5cHB8QXy6yjruHEmGJ8m9kA4F
      HASvjJaWMeL1tfwMZTIbhu7DhIKd/MCq/w==
      -----END EC PRIVATE KEY-----
      """
    #expect(throws: Never.self) { try CertificateKey(pem: older) }
  }
}
