"""What an external pager is asked for and has not answered yet.

A question is open from `open` to `close`, while a thread waits for it; answers come page by page,
in any order. Each page is answered once; what comes then is nobody's answer.

A pager of single pages may think about each for a while: it is not asked for one again before. Of
those that it never answers for, MOST_THINKING are remembered, and as many as it has just been asked
for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from octavo.status import StatusError
from octavo.threads.wait import Event

MOST_THINKING = 4096  # pages


@dataclass(slots=True, eq=False)
class Question:
    """Pages [page, page + len(buffers)) that were asked for. Bit i of masks: page `page` + i."""

    page: int
    buffers: list[memoryview]  # one a page
    need: int
    answered: int = 0
    supplied: int = 0
    error: StatusError | None = None
    event: Event = field(default_factory=Event)

    def within(self, first: int, end: int) -> range:
        """Its pages among [first, end)."""
        return range(max(first, self.page), min(end, self.page + len(self.buffers)))

    def look(self) -> None:
        """Wakes who waits when all that is needed has been answered, or cannot be."""
        if self.error is not None or self.need & ~self.answered == 0:
            self.event.signal()


class Asked:
    """The open requests of one memory object."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self._until: dict[int, float] = {}  # single pages, and when they may be asked for again

    @property
    def thinking(self) -> int:
        """Pages that a pager of single pages may be thinking about."""
        return len(self._until)

    def open(self, page: int, buffers: list[memoryview], need: range) -> Question:
        """A question from `page` on, a buffer a page; somebody waits for its pages `need`."""
        question = Question(page, buffers, (1 << need.stop) - (1 << need.start))
        self.questions.append(question)
        return question

    def close(self, question: Question) -> None:
        """Nobody waits for it any more."""
        self.questions.remove(question)

    def singly(self, question: Question, need: range, now: float, until: float) -> list[int]:
        """The pages of a question, from 0, that a pager of single pages is to be asked for now, who
        waits first; it may think about them until then.
        """
        if len(self._until) > MOST_THINKING:
            self._until = {page: time for page, time in self._until.items() if time > now}
        order = (*need, *(i for i in range(len(question.buffers)) if i not in need))
        out = [i for i in order if self._until.get(question.page + i, 0) <= now]
        self._until.update((question.page + i, until) for i in out)
        return out

    def pages(self, first: int, end: int) -> list[int]:
        """The pages among [first, end) that somebody asks for, ascending."""
        return sorted({page for question in self.questions for page in question.within(first, end)})

    def answer(self, page: int, data: memoryview) -> bool:
        """Fills a page that was asked for; False when it was not, or was answered before."""
        self._until.pop(page, None)
        for question in self.questions:
            i = page - question.page
            if 0 <= i < len(question.buffers) and not question.answered >> i & 1:
                question.buffers[i][:] = data
                question.answered |= 1 << i
                question.supplied |= 1 << i
                question.look()
                return True
        return False

    def fail(self, first: int, end: int, error: Callable[[int], StatusError]) -> None:
        """The pages among [first, end) do not come: who waits for one gets the error made for it,
        the others are left out.
        """
        for question in self.questions:
            for page in question.within(first, end):
                self._until.pop(page, None)
                bit = 1 << page - question.page
                question.answered |= bit
                if question.need & bit & ~question.supplied:
                    question.error = error(page)
            question.look()

    def end(self, error: StatusError) -> None:
        """Nothing more comes: who waits gets the error."""
        for question in self.questions:
            question.error = error
            question.event.signal()
