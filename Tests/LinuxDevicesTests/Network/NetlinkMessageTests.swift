import CLinux
import Glibc
import Testing

@testable import LinuxDevices

@Suite struct NetlinkMessageTests {
  @Test func attributesReadBackAsTheyWereWritten() {
    var payload = NetlinkPayload()
    payload.attribute(1, UInt32(7))
    payload.attribute(2, "name")
    payload.nested(3) { $0.attribute(4, bigEndian: UInt16(0x1234)) }
    let attributes = NetlinkAttributes(payload.bytes[...])
    #expect(payload.bytes.count % 4 == 0)
    #expect(attributes.integer(1, as: UInt32.self) == 7)
    #expect(attributes.string(2) == "name")
    #expect(attributes.nested(3)?.bigEndian(4, as: UInt16.self) == 0x1234)
    #expect(attributes.integer(1, as: UInt64.self) == nil)
  }

  @Test(
    arguments: [[0, 0, 1, 0], [3, 0, 1, 0], [9, 0, 1, 0, 1, 2, 3, 4], [255, 255, 1, 0, 0], [4, 0, 1]] as [[UInt8]])
  func anAttributeWithABadLengthIsNotRead(bytes: [UInt8]) {
    #expect(NetlinkAttributes(bytes[...]).inOrder.isEmpty)
  }

  @Test func everyCutOfAMessageIsReadWithinItsBounds() {
    var payload = NetlinkPayload()
    payload.append(ifinfomsg(index: 3))
    payload.attribute(Int(IFLA_IFNAME), "eth0")
    payload.nested(Int(IFLA_LINKINFO)) { $0.attribute(Int(IFLA_INFO_KIND), "vxlan") }
    for length in 0...payload.bytes.count {
      let link = Link(NetlinkReply(type: UInt16(RTM_NEWLINK), payload: payload.bytes[..<length]))
      #expect(link == nil || link?.name == "eth0")
    }
  }

  @Test func aKernelMessageIsPartOfTheError() {
    let request = NetlinkRequest(RTM_NEWLINK, operation: "create a thing") { _ in }
    var exchange = Exchange([request], acknowledged: [true], firstSequence: 5)
    var answer = NetlinkPayload()
    answer.append(Int32(-EBUSY))
    answer.append(nlmsghdr(nlmsg_len: 16, nlmsg_type: 16, nlmsg_flags: 0, nlmsg_seq: 5, nlmsg_pid: 0))
    answer.attribute(Int(NLMSGERR_ATTR_MSG.rawValue), "no room")
    var bytes = NetlinkPayload()
    bytes.append(
      nlmsghdr(
        nlmsg_len: UInt32(16 + answer.bytes.count), nlmsg_type: UInt16(NLMSG_ERROR),
        nlmsg_flags: UInt16(NLM_F_CAPPED | NLM_F_ACK_TLVS), nlmsg_seq: 5, nlmsg_pid: 0))
    exchange.receive(bytes.bytes + answer.bytes)
    #expect(exchange.isComplete)
    #expect(throws: NetlinkError(errno: EBUSY, kernelMessage: "no room", operation: "create a thing")) {
      try exchange.results[0].get()
    }
  }

  @Test func anAnswerToAnotherRequestIsIgnored() {
    let request = NetlinkRequest(RTM_NEWLINK, operation: "create a thing") { _ in }
    var exchange = Exchange([request], acknowledged: [true], firstSequence: 5)
    var bytes = NetlinkPayload()
    bytes.append(
      nlmsghdr(nlmsg_len: 20, nlmsg_type: UInt16(NLMSG_ERROR), nlmsg_flags: 0, nlmsg_seq: 4, nlmsg_pid: 0))
    bytes.append(Int32(-EBUSY))
    exchange.receive(bytes.bytes)
    #expect(!exchange.isComplete)
  }

  @Test(arguments: ["02:00:00:00:00:0g", "02:00:00:00:00", "2:0:0:0:0:1", "02-00-00-00-00-01", "", "+2:00:00:00:00:01"])
  func whatIsNoMACAddressIsRefused(text: String) {
    #expect(MACAddress(text) == nil)
  }

  @Test func addressesPrintAsTheyAreRead() {
    #expect(MACAddress("02:AB:00:00:00:01")?.description == "02:ab:00:00:00:01")
    #expect(IPAddress("192.0.2.1")?.description == "192.0.2.1")
    #expect(IPAddress("2001:db8::1")?.description == "2001:db8::1")
    #expect(IPAddress("192.0.2") == nil)
  }

  @Test(arguments: ["", "0123456789abcdef", "a/b", "a b", ".", "..", "a:b", "eth%d"])
  func whatTheKernelTakesForNoInterfaceNameIsRefused(name: String) {
    #expect(!InterfaceName.isValid(name))
  }
}
