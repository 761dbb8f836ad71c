import LinuxDevices
import Testing

/// The published vectors of FNV-1a: what is named by it must be found again for ever.
@Test(arguments: [("", "cbf29ce484222325"), ("a", "af63dc4c8601ec8c"), ("foobar", "85944171f73967e8")])
func aDigestNeverChanges(text: String, digest: String) {
  #expect(StableDigest.hexadecimal(text) == digest)
}

@Test func everyDigestHasSixteenDigits() {
  #expect((0..<10_000).allSatisfy { StableDigest.hexadecimal("function \($0)").utf8.count == 16 })
}
