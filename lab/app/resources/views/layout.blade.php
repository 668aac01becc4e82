<!doctype html>
<html lang="en">
<head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>@yield('title') · ChMS</title>
    <style>
        body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; color: #222; }
        nav { display: flex; gap: 1rem; align-items: center; border-bottom: 1px solid #ccc; padding-bottom: .5rem; }
        nav form { margin-left: auto; }
        table { border-collapse: collapse; width: 100%; }
        th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #eee; }
        label { display: block; margin: .6rem 0; }
        .error { color: #a00; }
    </style>
</head>
<body>
@auth
<nav>
    <a href="/members">Members</a> <a href="/attendance">Attendance</a> <a href="/uploads">Files</a>
    <form method="post" action="/logout">@csrf<button>Log out {{ auth()->user()->name }}</button></form>
</nav>
@endauth
<h1>@yield('title')</h1>
@yield('content')
</body>
</html>
