import CLinux
import Glibc

/// Requests on their way and the answers so far: the protocol of netlink without its socket.
struct Exchange {
  private struct Pending {
    var operation: String
    var replies: [NetlinkReply] = []
    var outcome: Result<[NetlinkReply], NetlinkError>?
    var interrupted = false
    var isAcknowledged: Bool
  }

  let datagram: [UInt8]
  private let firstSequence: UInt32
  private var pending: [Pending]

  init(_ requests: [NetlinkRequest], acknowledged: [Bool], firstSequence: UInt32) {
    self.firstSequence = firstSequence
    pending = zip(requests, acknowledged).map { Pending(operation: $0.operation, isAcknowledged: $1) }
    var bytes: [UInt8] = []
    for (index, request) in requests.enumerated() {
      let acknowledge = acknowledged[index] ? NLM_F_ACK : 0
      let header = nlmsghdr(
        nlmsg_len: UInt32(16 + request.payload.bytes.count), nlmsg_type: request.type,
        nlmsg_flags: UInt16(truncatingIfNeeded: NLM_F_REQUEST | acknowledge | request.flags),
        nlmsg_seq: firstSequence &+ UInt32(index), nlmsg_pid: 0)
      withUnsafeBytes(of: header) { bytes.append(contentsOf: $0) }
      bytes.append(contentsOf: request.payload.bytes)
    }
    datagram = bytes
  }

  /// A failure of a request that asked for no answer (a batch that could not be committed) ends the wait as well.
  var isComplete: Bool {
    pending.allSatisfy { !$0.isAcknowledged || $0.outcome != nil }
      || pending.contains { !$0.isAcknowledged && $0.outcome != nil }
  }

  var results: [Result<[NetlinkReply], NetlinkError>] { pending.map { $0.outcome ?? .success([]) } }

  mutating func receive(_ bytes: [UInt8]) {
    var rest = bytes[...]
    while let length = rest.integer(at: 0, as: UInt32.self).map(Int.init), length >= 16, length <= rest.count {
      let type = rest.integer(at: 4, as: UInt16.self) ?? 0
      let flags = rest.integer(at: 6, as: UInt16.self) ?? 0
      let sequence = rest.integer(at: 8, as: UInt32.self) ?? 0
      let index = Int(sequence &- firstSequence)
      // Answers to an earlier, failed exchange are still in the queue: not ours.
      if index < pending.count {
        take(index, type: type, flags: flags, payload: rest.dropFirst(16).prefix(length - 16))
      }
      rest = rest.dropFirst(min((length + 3) & ~3, rest.count))
    }
  }

  private mutating func take(_ index: Int, type: UInt16, flags: UInt16, payload: ArraySlice<UInt8>) {
    if Int32(flags) & NLM_F_DUMP_INTR != 0 { pending[index].interrupted = true }
    switch Int32(type) {
    case NLMSG_ERROR:
      let code = payload.integer(at: 0, as: Int32.self) ?? -EBADMSG
      if code == 0 {
        finish(index)
      } else {
        let message = Self.kernelMessage(payload, flags: flags)
        pending[index].outcome = .failure(
          NetlinkError(errno: -code, kernelMessage: message, operation: pending[index].operation))
      }
    case NLMSG_DONE:
      // A dump that fails half-way says so here.
      let code = payload.integer(at: 0, as: Int32.self) ?? 0
      if code < 0 {
        pending[index].outcome = .failure(NetlinkError(errno: -code, operation: pending[index].operation))
      } else {
        finish(index)
      }
    case NLMSG_NOOP: break
    default: pending[index].replies.append(NetlinkReply(type: type, payload: payload))
    }
  }

  private mutating func finish(_ index: Int) {
    pending[index].outcome =
      pending[index].interrupted
      ? .failure(NetlinkError(errno: EINTR, operation: pending[index].operation)) : .success(pending[index].replies)
  }

  /// NLMSGERR_ATTR_MSG behind the error and the request's header (its body too, unless the kernel capped it).
  private static func kernelMessage(_ payload: ArraySlice<UInt8>, flags: UInt16) -> String? {
    guard Int32(flags) & NLM_F_ACK_TLVS != 0 else { return nil }
    let isCapped = Int32(flags) & NLM_F_CAPPED != 0
    let length = isCapped ? 16 : Int(payload.integer(at: 4, as: UInt32.self) ?? 16)
    return NetlinkAttributes(payload.dropFirst(4 + ((length + 3) & ~3))).string(Int(NLMSGERR_ATTR_MSG.rawValue))
  }
}
