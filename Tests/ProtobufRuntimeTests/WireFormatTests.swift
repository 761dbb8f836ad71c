import Messages
import Testing

@Suite struct WireFormatTests {
  @Test func aClaimIsWrittenAsProtocWritesIt() {
    #expect(Samples.claim.encoded() == Samples.claimBytes)
  }

  @Test func aClaimIsReadAsProtocWroteIt() throws {
    #expect(try Claim(decoding: Samples.claimBytes) == Samples.claim)
  }

  @Test func mapsAreWrittenByKey() throws {
    #expect(Samples.hello.encoded() == Samples.helloBytes)
    #expect(try AgentMessage(decoding: Samples.helloBytes) == Samples.hello)
  }

  @Test func manyMapEntriesAreWrittenByKeyToo() throws {
    let host = Host { for index in 100..<400 { $0.labels["key-\(index)"] = "\(index)" } }
    let copy = try Host(decoding: host.encoded())
    #expect(copy == host)
    #expect(copy.encoded() == host.encoded())
  }

  @Test func anEmptyValueInAMapIsAValue() throws {
    let host = Host { $0.labels = ["rack": "", "": "x"] }
    #expect(try Host(decoding: host.encoded()) == host)
    // protoc writes the empty value out.
    #expect(try Host(decoding: Samples.bytes("22080a047261636b1200")) == Host { $0.labels = ["rack": ""] })
  }

  @Test func theCaseOfAOneofIsWrittenEvenIfItIsEmpty() throws {
    let message = AgentMessage { $0.kind = .heartbeat(Heartbeat()) }
    #expect(message.encoded() == [0x12, 0x00])
    #expect(try AgentMessage(decoding: [0x12, 0x00]) == message)
  }

  @Test func unsetZeroAndAValueAreThreeThings() throws {
    let unset = BlockAttributes()
    let zero = BlockAttributes {
      $0.readOnly = false
      $0.sizeBytes = 0
    }
    let set = BlockAttributes {
      $0.readOnly = true
      $0.sizeBytes = 512
    }
    #expect(unset.encoded() == [])
    #expect(zero.encoded() == [0x0a, 0x00, 0x12, 0x00])
    for block in [unset, zero, set] { #expect(try BlockAttributes(decoding: block.encoded()) == block) }
    #expect(unset != zero)
  }

  @Test func anEmptyStringInAWrapperIsNotUnset() throws {
    let ethernet = EthernetAttributes { $0.macAddress = "" }
    #expect(try EthernetAttributes(decoding: ethernet.encoded()).macAddress == "")
  }

  @Test func negativeNumbersTakeTenBytes() throws {
    let root = Root {
      $0.host = "a"
      $0.numaNode = -1
    }
    #expect(root.encoded() == Samples.bytes("0a01611a0b08ffffffffffffffffff01"))
    #expect(try Root(decoding: root.encoded()) == root)
  }

  @Test func numbersThatRepeatArePackedAndReadEitherWay() throws {
    let request = DescribeRequest {
      $0.protocolVersions = [1, 300]
      $0.host = "h"
    }
    #expect(request.encoded() == Samples.bytes("0a0301ac02120168"))
    #expect(try DescribeRequest(decoding: request.encoded()) == request)
    #expect(try DescribeRequest(decoding: Samples.bytes("080108ac02120168")) == request)
  }

  @Test func anEmptyMessageIsNoBytes() throws {
    #expect(Claim().encoded() == [])
    #expect(try Claim(decoding: []) == Claim())
  }

  @Test func anEnumValueOfTheFutureIsKept() throws {
    let assignment = try Assignment(decoding: field(8, 99))
    #expect(assignment.path == .unrecognized(99))
    #expect(assignment.encoded() == field(8, 99))
    #expect(Path(rawValue: 1) == .direct)
  }

  @Test func aLargeMessageSurvivesTheWay() throws {
    let list = ListClaimsResponse {
      for index in 0..<2_000 {
        var claim = Samples.claim
        claim.name = "claim-\(index)"
        $0.claims.append(claim)
      }
    }
    #expect(try ListClaimsResponse(decoding: list.encoded()) == list)
  }

  @Test func aStringIsNeverCutOffAtANUL() throws {
    let request = GetClaimRequest { $0.name = "a\0b" }
    #expect(try GetClaimRequest(decoding: request.encoded()).name == "a\u{FFFD}b")
  }

  @Test func aCopyDoesNotChangeWithTheOriginal() {
    var claim = Samples.claim
    let before = claim
    claim.specification?.host = "elsewhere"
    claim.specification?.attributes?.ethernet?.mtu = 9000
    #expect(before == Samples.claim)
    #expect(claim.specification?.host == "elsewhere")
    claim.specification = nil
    #expect(claim.specification == nil && before.specification != nil)
    #expect(claim != before)
  }
}
