import HTTP2Session
import NIOCore
import NIOPosix
import Synchronization

/// Runs tasks on one event loop, and sends what they wrote: for channels, and tasks that make calls on them and do little beside.
/// Run by the loop of their channels they need no hop from thread to thread for each message. Nothing that they do may block.
///
/// A task that is started or resumed from the loop itself runs at the end of what the loop is doing, without a hop to
/// another thread: the hop costs more than a small call. It never runs inside `enqueue`, because whoever resumes a task
/// may hold a lock that the task needs. When the tasks that can run have run, the connections that they wrote to are
/// flushed: what is written in one turn leaves in one system call, without a timer.
///
/// Sendable because everything but `remoteJobs` is touched on the loop alone.
public final class EventLoopExecutor: TaskExecutor, @unchecked Sendable {
  /// Jobs in one turn; then the loop's sockets have a turn, though a task may always have more to do.
  private static let jobsPerTurn = 1024

  let eventLoop: any EventLoop
  /// Where the loop's connections, one after the other, put together what they send.
  let output = OutgoingQueue()
  private let remoteJobs = Mutex<[UnownedJob]>([])
  private var jobs: [UnownedJob] = []
  private var nextJob = 0
  private var unflushed: [HTTP2Connection] = []
  private var isInTurn = false
  private var turnIsScheduled = false
  /// A connection is reading; it takes the turn when it is done.
  private var isReading = false

  /// The executors of the loops there have been. They keep their loops, whose number is small, so that an identifier
  /// never stands for two.
  private static let executors = Mutex<[ObjectIdentifier: EventLoopExecutor]>([:])

  /// One of the process's loops; each has its turn.
  public static func next() -> EventLoopExecutor { .of(MultiThreadedEventLoopGroup.singleton.next()) }

  static func of(_ eventLoop: any EventLoop) -> EventLoopExecutor {
    executors.withLock { executors in
      let identifier = ObjectIdentifier(eventLoop)
      if let executor = executors[identifier] { return executor }
      let executor = EventLoopExecutor(eventLoop)
      executors[identifier] = executor
      return executor
    }
  }

  private init(_ eventLoop: any EventLoop) { self.eventLoop = eventLoop }

  public func asUnownedTaskExecutor() -> UnownedTaskExecutor { UnownedTaskExecutor(ordinary: self) }

  public func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    if eventLoop.inEventLoop {
      jobs.append(job)
      scheduleTurn()
      return
    }
    let isFirst = remoteJobs.withLock { jobs in
      jobs.append(job)
      return jobs.count == 1
    }
    if isFirst { eventLoop.execute { self.takeTurn() } }
  }

  // MARK: On the loop

  /// Has a connection flushed at the end of this turn.
  func flush(_ connection: HTTP2Connection) {
    unflushed.append(connection)
    scheduleTurn()
  }

  func beginReading() { isReading = true }

  func endReading() {
    isReading = false
    takeTurn()
  }

  private func scheduleTurn() {
    guard !isInTurn, !isReading, !turnIsScheduled else { return }
    turnIsScheduled = true
    eventLoop.execute {
      self.turnIsScheduled = false
      self.takeTurn()
    }
  }

  private func takeTurn() {
    guard !isInTurn else { return }
    isInTurn = true
    takeRemoteJobs()
    let executor = asUnownedTaskExecutor()
    var jobsLeft = Self.jobsPerTurn
    repeat {
      while nextJob < jobs.count, jobsLeft > 0 {
        let job = jobs[nextJob]
        nextJob += 1
        jobsLeft -= 1
        job.runSynchronously(on: executor)
      }
      if nextJob == jobs.count {
        jobs.removeAll(keepingCapacity: true)
        nextJob = 0
      }
      flushAll()
    } while nextJob < jobs.count && jobsLeft > 0
    isInTurn = false
    if nextJob < jobs.count {
      jobs.removeFirst(nextJob)
      nextJob = 0
      scheduleTurn()
    }
  }

  private func takeRemoteJobs() {
    remoteJobs.withLock { remote in
      guard !remote.isEmpty else { return }
      jobs.append(contentsOf: remote)
      remote.removeAll(keepingCapacity: true)
    }
  }

  private func flushAll() {
    var next = 0
    while next < unflushed.count {
      unflushed[next].flush()
      next += 1
    }
    unflushed.removeAll(keepingCapacity: true)
  }
}
