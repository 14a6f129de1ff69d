"""The server of a study: the page, a rater's stories in their own order, their videos and their votes."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from shotstream.core.errors import InputError
from shotstream.metrics.compare import IN_STEP
from shotstream.study.files import Study, StudyStory
from shotstream.study.votes import Vote, Votes, order_of

WEB = Path(__file__).parent / "web"
PAGE = "index.html"
NO_DIFFERENCE = -1
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""The page talks to this server alone, and a rater's link is told to no other one."""


def make_app(directory: Path, study: Study, votes: Votes) -> FastAPI:
    """Return the application that serves one study. No name of a system leaves it."""
    app = FastAPI(title="ShotStream study", openapi_url=None, docs_url=None, redoc_url=None)
    app.add_api_route("/web/in_step.js", lambda: FileResponse(IN_STEP))
    app.mount("/web", StaticFiles(directory=WEB))
    for path in ("/", "/r/{rater}"):
        app.add_api_route(path, lambda: FileResponse(WEB / PAGE))
    app.add_exception_handler(InputError, _unavailable)

    @app.middleware("http")
    async def add_headers(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await answer(request)
        response.headers.update(HEADERS)
        return response

    def story_of(rater: str, position: int) -> tuple[StudyStory, tuple[int, ...]]:
        """Return the story at a position of a rater's order, and the systems in theirs."""
        if not votes.knows(rater):
            raise HTTPException(404, "this link does not belong to this study; ask for a new one")
        order = order_of(study, rater)
        if not 0 <= position < len(order.stories):
            raise HTTPException(404, f"expected a story from 0 to {len(order.stories) - 1}, got {position}")
        return study.stories[order.stories[position]], order.systems[position]

    @app.post("/api/raters")
    def add_rater() -> dict[str, str]:
        return {"rater": votes.add_rater()}

    @app.get("/api/raters/{rater}")
    def show(rater: str) -> dict[str, Any]:
        story_of(rater, 0)
        given = {(vote.story, vote.question): vote.choice for vote in votes.all(rater)}
        stories = [_describe(study, *story_of(rater, at), given) for at in range(len(study.stories))]
        questions = [{"key": one.key, "title": one.title, "text": one.text} for one in study.questions]
        return {"videos": len(study.systems), "questions": questions, "stories": stories}

    @app.get("/api/raters/{rater}/stories/{position}/videos/{slot}")
    def video(rater: str, position: int, slot: int) -> FileResponse:
        story, systems = story_of(rater, position)
        if not 0 <= slot < len(systems):
            raise HTTPException(404, f"expected a video from 0 to {len(systems) - 1}, got {slot}")
        path = directory / story.videos[systems[slot]]
        if not path.is_file():
            raise InputError(f"a video of {story.name} is gone; if the study was moved, serve it where it is now")
        return FileResponse(path)

    @app.put("/api/raters/{rater}/stories/{position}/votes/{question}")
    def vote(rater: str, position: int, question: str, choice: Annotated[int, Body(embed=True)]) -> dict[str, bool]:
        story, systems = story_of(rater, position)
        if question not in {one.key for one in study.questions}:
            raise HTTPException(404, f"no question '{question}' in this study")
        if not NO_DIFFERENCE <= choice < len(systems):
            raise HTTPException(422, f"expected a choice from {NO_DIFFERENCE} to {len(systems) - 1}, got {choice}")
        chosen = None if choice == NO_DIFFERENCE else study.systems[systems[choice]]
        votes.add(Vote(rater, story.name, question, chosen))
        return {"stored": True}

    return app


def _describe(
    study: Study, story: StudyStory, systems: tuple[int, ...], given: dict[tuple[str, str], str | None]
) -> dict[str, Any]:
    """Return what a rater is told of a story; `answers` has the slot chosen for each answered question."""
    slots = {study.systems[system]: slot for slot, system in enumerate(systems)} | {None: NO_DIFFERENCE}
    answers = {one.key: slots[given[story.name, one.key]] for one in study.questions if (story.name, one.key) in given}
    script = {"global": story.global_caption, "captions": story.captions, "starts": story.starts_s}
    return script | {"answers": answers}


async def _unavailable(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 503)
