import Foundation
import Messages
import Testing

@Suite struct JSONMappingTests {
  private func json(_ message: some Message) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(message), as: UTF8.self)
  }

  private func parse<Value: Message>(_ text: String, as type: Value.Type = Value.self) throws -> Value {
    try JSONDecoder().decode(Value.self, from: Data(text.utf8))
  }

  private func complaint<Value: Message>(_ type: Value.Type, _ text: String) -> String {
    do {
      _ = try parse(text, as: type)
      return "taken"
    } catch DecodingError.dataCorrupted(let context) {
      return context.debugDescription
    } catch {
      return "\(error)"
    }
  }

  @Test func aClaimComesBackFromJSON() throws {
    #expect(try parse(json(Samples.claim)) == Samples.claim)
    #expect(try parse(json(Samples.hello)) == Samples.hello)
  }

  @Test func jsonIsWrittenByProtobufsRules() throws {
    #expect(try json(Claim()) == "{}")
    #expect(
      try json(Samples.hello) == """
        {"hello":{"highestEpoch":"9","host":{"labels":{"a":"1","b":"2"},"lease":{"termMilliseconds":300},"name":"h"}}}
        """)
    let assignment = Assignment {
      $0.path = .directSoftware
      $0.consumer = Consumer { $0.kind = .host(HostConsumer()) }
    }
    #expect(try json(assignment) == #"{"consumer":{"host":{}},"path":"PATH_DIRECT_SOFTWARE"}"#)
    #expect(try json(Claim { $0.revision = .max }) == #"{"revision":"18446744073709551615"}"#)
  }

  @Test func wrappersAreScalarsAndZeroIsWritten() throws {
    let ethernet = EthernetAttributes {
      $0.mtu = 0
      $0.maxReceiveBitsPerSecond = 5
    }
    #expect(try json(ethernet) == #"{"maxReceiveBitsPerSecond":"5","mtu":0}"#)
    #expect(try parse(#"{"mtu":0,"maxReceiveBitsPerSecond":5}"#) == ethernet)
    #expect(try parse(#"{"mtu":null}"#) == EthernetAttributes())
  }

  @Test func numbersAreTakenAsStringsToo() throws {
    #expect(try parse(#"{"revision":"7"}"#) == Claim { $0.revision = 7 })
    #expect(try parse(#"{"revision":7}"#) == Claim { $0.revision = 7 })
    #expect(try parse(#"{"dropped":"7"}"#) == PendingReason { $0.dropped = 7 })
    #expect(complaint(Claim.self, #"{"revision":"-1"}"#).contains("'-1' is no whole number"))
    #expect(complaint(PendingReason.self, #"{"dropped":4294967296}"#) != "taken")
  }

  @Test func anUnknownFieldNamesTheNearestOne() {
    let problem = complaint(EthernetAttributes.self, #"{"mtuu":1500}"#)
    #expect(problem == "unknown field 'mtuu' in iov.v1.EthernetAttributes; did you mean 'mtu'?")
    #expect(complaint(HostConsumer.self, #"{"x":1}"#) == "unknown field 'x' in iov.v1.HostConsumer; it has no fields")
    let foreign = complaint(GetClaimRequest.self, #"{"somethingElse":1}"#)
    #expect(foreign == "unknown field 'somethingElse' in iov.v1.GetClaimRequest; known are name")
  }

  @Test func anUnknownFieldInsideIsFoundToo() {
    let text = #"{"specification":{"endNode":{"labels":{},"hosts":"a"}}}"#
    #expect(complaint(Claim.self, text).contains("did you mean 'host'?"))
  }

  @Test func theNameInTheProtoIsTaken() throws {
    #expect(try parse(#"{"device_class":"sata"}"#) == ClaimSpecification { $0.deviceClass = "sata" })
    #expect(complaint(ClaimSpecification.self, #"{"device_class":"a","deviceClass":"b"}"#).contains("given twice"))
  }

  @Test func enumsAreNamesOrNumbers() throws {
    #expect(try parse(#"{"path":"PATH_MEDIATED"}"#) == Assignment { $0.path = .mediated })
    #expect(try parse(#"{"path":4}"#) == Assignment { $0.path = .mediated })
    #expect(try json(Assignment { $0.path = .unrecognized(42) }) == #"{"path":42}"#)
    let problem = complaint(Assignment.self, #"{"path":"PATH_MEDIATE"}"#)
    #expect(problem == "'PATH_MEDIATE' is no Path; did you mean 'PATH_MEDIATED'?")
  }

  @Test func aOneofTakesOneMember() throws {
    let text = #"{"host":{},"networkNamespace":{"name":"x"}}"#
    #expect(complaint(Consumer.self, text) == "'networkNamespace' excludes another field that is given")
    let consumer = Consumer { $0.kind = .host(HostConsumer()) }
    #expect(try parse(#"{"host":{},"networkNamespace":null}"#) == consumer)
  }

  @Test func aStringWithANULIsRefused() {
    #expect(complaint(GetClaimRequest.self, #"{"name":"a\u0000b"}"#) == "the string contains a NUL")
    #expect(complaint(Host.self, #"{"labels":{"a\u0000":"b"}}"#) != "taken")
  }

  @Test(arguments: [
    (Timestamp(), "1970-01-01T00:00:00Z"),
    (Timestamp(seconds: 1_795_427_100, nanoseconds: 500_000_000), "2026-11-23T09:45:00.500Z"),
    (Timestamp(seconds: -1, nanoseconds: 1_000), "1969-12-31T23:59:59.000001Z"),
    (Timestamp(seconds: 951_782_400, nanoseconds: 1), "2000-02-29T00:00:00.000000001Z"),
    (Timestamp(seconds: -62_135_596_800), "0001-01-01T00:00:00Z"),
    (Timestamp(seconds: 253_402_300_799), "9999-12-31T23:59:59Z"),
  ])
  func timesAreRFC3339(time: Timestamp, text: String) throws {
    #expect(time.description == text)
    #expect(Timestamp(text) == time)
    #expect(try json(Claim { $0.created = time }) == "{\"created\":\"\(text)\"}")
  }

  @Test func offsetsAndFractionsOfATimeAreTaken() {
    #expect(Timestamp("1970-01-01T02:00:00.5+02:00") == Timestamp(nanoseconds: 500_000_000))
    #expect(Timestamp("1969-12-31T23:30:00-00:30") == Timestamp())
  }

  @Test(arguments: [
    "", "2026-11-23", "2026-11-23 09:45:00Z", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-11-23T24:00:00Z",
    "2026-11-23T09:45:00", "2026-11-23T09:45:00.Z", "2026-11-23T09:45:00.1234567890Z", "2026-11-23T09:45:00Zx",
    "0001-01-01T00:00:00+01:00", "２026-11-23T09:45:00Z",
  ])
  func whatIsNoTimeIsRefused(text: String) {
    #expect(Timestamp(text) == nil)
  }
}
