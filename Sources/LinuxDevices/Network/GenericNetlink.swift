import CLinux
import Glibc

/// A family of generic netlink: a kernel interface that is found by its name.
public struct GenericNetlink: Sendable {
  private let netlink: any NetlinkTransport
  private let family: UInt16
  private let version: UInt8

  /// Nil: the kernel has no such family, nor a module for it.
  public init?(_ name: String, version: UInt8 = 1, through netlink: any NetlinkTransport) throws(NetlinkError) {
    let request = NetlinkRequest(GENL_ID_CTRL, operation: "look up the kernel interface \(name)") {
      $0.append(genlmsghdr(cmd: UInt8(CTRL_CMD_GETFAMILY), version: 1, reserved: 0))
      $0.attribute(Int(CTRL_ATTR_FAMILY_NAME), name)
    }
    let replies: [NetlinkReply]
    do {
      replies = try netlink.request(request)
    } catch  where error.isAbsence {
      return nil
    }
    let number = replies.lazy.compactMap {
      NetlinkAttributes($0.payload.dropFirst(4)).integer(Int(CTRL_ATTR_FAMILY_ID), as: UInt16.self)
    }.first
    guard let number else { return nil }
    self.netlink = netlink
    family = number
    self.version = version
  }

  /// Everything that a command tells of, one set of attributes each.
  func dump(_ command: some BinaryInteger, operation: String) throws(NetlinkError) -> [NetlinkAttributes] {
    try netlink.dump(message(command, operation) { _ in }).map { NetlinkAttributes($0.payload.dropFirst(4)) }
  }

  func request(
    _ command: some BinaryInteger, operation: String, _ attributes: (inout NetlinkPayload) -> Void
  ) throws(NetlinkError) -> [NetlinkAttributes] {
    try netlink.request(message(command, operation, attributes)).map { NetlinkAttributes($0.payload.dropFirst(4)) }
  }

  private func message(
    _ command: some BinaryInteger, _ operation: String, _ attributes: (inout NetlinkPayload) -> Void
  ) -> NetlinkRequest {
    NetlinkRequest(family, operation: operation) {
      $0.append(genlmsghdr(cmd: UInt8(command), version: version, reserved: 0))
      attributes(&$0)
    }
  }
}
